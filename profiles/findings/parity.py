"""How close two runtimes' outputs are."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from ...errors import VerificationError
from .channels import ROUNDING, UNHEARD, ChannelGroup, ChannelScales, sqnr
from .rows import Rows, aligned
from .spread import Few, SampleSums, spread

_ROWS = (
    "Where the number of rows depends on data, as behind a threshold or non-maximum suppression, rounding changes it. "
    "Return what is selected from (all scores and boxes) and select outside of the model."
)
_RANK = (
    "The number of axes is no matter of rounding: the runtime reads an operator near that output in another way. Write "
    "it with other operators, or choose another target."
)
_INFINITE = (
    "Where an infinity marks what data select, as a mask behind a threshold, rounding changes what is selected. Mark "
    "it with a large finite number, or select outside of the model."
)
_KINDS = {"O": "text", "U": "text", "S": "text"}
# Bytes of the integers that classes and places come in.
_CODES = (4, 8)

Array = npt.NDArray[np.generic]


class NotFiniteError(VerificationError):
    """NaN or Inf where the reference is finite.

    Attributes:
        feed: index of the feed, for who looks for the cause.
    """

    feed: int = 0

    @classmethod
    def at(cls, feed: int, message: str, hint: str | None) -> NotFiniteError:
        """The error at a feed."""
        error = cls(message, hint=hint)
        error.feed = feed
        return error


@dataclass(frozen=True, slots=True, kw_only=True)
class Parity:
    """Agreement of one output with its reference, over all samples given.

    Attributes:
        sqnr_db: signal to quantization noise ratio, 10*log10(sum r^2 / sum (r-x)^2); inf where equal. Of booleans and
            of integers of 32 and 64 bits, which are classes and places rather than amounts, it is 10*log10(elements /
            elements that differ): 10 dB is 90 % agreement.
        max_abs: largest absolute difference.
        cosine: mean over samples of the cosine of the flattened output with its reference; 1 of those that rounding
            alone tells apart, and of what is 0 on one side and all but 0, beside the largest value, on the other.
        argmax: share of places whose largest element along the last axis is the same one; None of what can be no scores
            of classes: integers, single values, and arrays with nothing but samples. Of other floats nobody can tell.
        groups: channels of the output by scale, where its scales are far apart.
        lower_db: what `sqnr_db` is at least, with 95 % confidence, on other samples of the kind; None of a few samples,
            and of classes and places.
        few: the samples that decide the figure, where not many do.
    """

    sqnr_db: float
    max_abs: float
    cosine: float
    argmax: float | None
    groups: tuple[ChannelGroup, ...] = ()
    lower_db: float | None = None
    few: Few | None = None

    @property
    def assured_db(self) -> float:
        """As `weakest_db`, with what is left of the whole on other samples of the kind."""
        return self.weakest_db if self.lower_db is None else min(self.weakest_db, self.lower_db)

    @property
    def weakest_db(self) -> float:
        """SQNR of the whole or of a group of its channels, whichever is least: what an output is judged by."""
        return min([self.sqnr_db, *(group.sqnr_db for group in self.groups)])

    def reaches(self, least_db: float) -> bool:
        """Whether it is as close as that; what differs by the rounding of float32 at 1 is, however small the output."""
        return self.weakest_db >= least_db or self.max_abs <= ROUNDING

    def assures(self, least_db: float) -> bool:
        """As `reaches`, on other samples of the kind as well."""
        return self.assured_db >= least_db or self.max_abs <= ROUNDING

    def __str__(self) -> str:
        weakest = min(self.groups, key=lambda group: group.sqnr_db, default=None)
        part = "" if weakest is None else f"{weakest}: {weakest.sqnr_db:.1f} dB, "
        return (
            f"SQNR {self.sqnr_db:.1f} dB, {part}largest difference {self.max_abs:.3g}, "
            f"cosine {self.cosine:.5f}{'' if self.argmax is None else f', argmax agreement {self.argmax:.1%}'}"
        )


def parity(
    references: Sequence[Mapping[str, Array]],
    outputs: Sequence[Mapping[str, Array]],
    *,
    by_sample: Mapping[str, int] | None = None,
    rows: Iterable[Rows] = (),
) -> dict[str, Parity]:
    """Compare runs of the same feeds, output by output.

    Args:
        references: one mapping of output name to array for each feed, of the model that is right.
        outputs: the same, of the model in question.
        by_sample: outputs that can be parted into samples, and along which axis; of the others a feed is one.
        rows: outputs that are sets of rows, which are compared with their likes, wherever these lie.

    Raises:
        NotFiniteError: an output holds NaN or Inf where the reference is finite.
        VerificationError: an output is missing, or has another shape.
    """
    names = references[0].keys()
    if sets := tuple(rows):
        both = [aligned(right, found, sets) for right, found in zip(references, outputs, strict=True)]
        references, outputs = [right for right, _ in both], [found for _, found in both]
    found = {
        name: _one(name, [r[name] for r in references], [_get(o, name) for o in outputs], (by_sample or {}).get(name))
        for name in names
    }
    in_sets = {name for one in sets for name in one.outputs}  # rows are no samples, and weigh what their scores say
    return {name: replace(one, few=None) if name in in_sets else one for name, one in found.items()}


def worst(parities: Mapping[str, Parity]) -> Parity:
    """The parity of the output that is furthest off, in whole or in a group of its channels."""
    return min(parities.values(), key=lambda p: p.weakest_db)


def assured_db(parities: Mapping[str, Parity]) -> float:
    """What the output that is furthest off has on other samples of the kind as well, in dB."""
    return min(p.assured_db for p in parities.values())


def is_codes(array: Array) -> bool:
    """Whether these are classes or places, which agree or do not, and no amounts."""
    return array.dtype.kind == "b" or (array.dtype.kind in "iu" and array.dtype.itemsize in _CODES)


def _may_be_scores(array: Array) -> bool:
    """Whether there is something to choose among along the last axis, for each sample."""
    return array.dtype.kind == "f" and array.ndim > 1 and array.shape[-1] > 1


def figure(sqnr_db: float, array: Array) -> str:
    """What an output like the array reaches, as people read it: `12.3 dB of SQNR`, `85.2% agreement` of codes."""
    if not is_codes(array):
        return f"{sqnr_db:.1f} dB of SQNR"
    share = 1 - 10 ** (-sqnr_db / 10)
    return f"{share:.2%} agreement" if 0.99 <= share < 1 else f"{share:.1%} agreement"


def needed(least_db: float, array: Array) -> str:
    """The same of what is asked of it."""
    return figure(least_db, array) if is_codes(array) else f"{least_db:g} dB"


def _get(outputs: Mapping[str, Array], name: str) -> Array:
    if name not in outputs:
        raise VerificationError(f"Output {name!r} is missing; the engine gave {', '.join(sorted(outputs))}.")
    return outputs[name]


def _one(name: str, references: list[Array], outputs: list[Array], axis: int | None) -> Parity:
    signal = noise = largest = peak = 0.0
    energies: list[SampleSums] = []
    rows: list[_Rows] = []
    agree: list[float] = []
    channels = ChannelScales()
    for index, (reference, output) in enumerate(zip(references, outputs, strict=True)):
        r, x = _comparable(name, reference), _comparable(name, output)
        if r.shape != x.shape:
            raise VerificationError(
                f"Output {name!r} has shape {x.shape}, the reference {r.shape}.",
                hint=_ROWS if r.ndim == x.ndim else _RANK,
            )
        r, x = _without_equal_infinities(r, x)
        if (np.isfinite(r) & ~np.isfinite(x)).any():
            said = f"Output {name!r} holds NaN or Inf where the reference is finite."
            raise NotFiniteError.at(index, said, None if np.isnan(x).any() else _INFINITE)
        if r.size == 0:
            continue
        difference = r - x
        if is_codes(reference):
            signal, noise = signal + float(r.size), noise + float((difference != 0).sum())
        else:
            signal, noise = signal + float((r * r).sum()), noise + float((difference * difference).sum())
            energies.append(SampleSums.of(r, difference, axis))
            peak = max(peak, float(np.abs(r[np.isfinite(r)]).max(initial=0.0)))
            if np.isfinite(difference).all():
                channels.add(r, x)
        # NaN in a reference agrees with nothing, NaN included.
        largest = math.inf if np.isnan(r).any() else max(largest, float(np.abs(difference).max()))
        rows.append(_Rows.of(r, x))
        if _may_be_scores(reference):
            agree.append(float(np.mean(r.argmax(-1) == x.argmax(-1))))
    least, held = spread(energies)
    return Parity(
        sqnr_db=sqnr(signal, noise),
        max_abs=largest,
        cosine=float(np.mean(np.concatenate([row.cosines(peak) for row in rows]))) if rows else 1.0,
        argmax=float(np.mean(agree)) if agree else None,
        groups=channels.groups(),
        lower_db=least,
        few=held,
    )


def _comparable(name: str, array: Array) -> npt.NDArray[np.float64]:
    if array.dtype.kind not in "fiub":
        what = _KINDS.get(array.dtype.kind, array.dtype.name)
        raise VerificationError(
            f"Output {name!r} is {what}, and only real numbers can be compared.",
            hint="Return the real and the imaginary part as outputs of their own (torch.view_as_real)."
            if array.dtype.kind == "c"
            else "Return the numbers that it is made of (an index, a code), and look it up outside of the model.",
        )
    return array.astype(np.float64)


def _without_equal_infinities(
    r: npt.NDArray[np.float64], x: npt.NDArray[np.float64]
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Both with zeros where they hold the same infinity, as masked scores do: that is agreement."""
    same = np.isinf(r) & (r == x)
    return (np.where(same, 0.0, r), np.where(same, 0.0, x)) if same.any() else (r, x)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Rows:
    """Rows of a feed beside their references.

    Attributes:
        products, norms: of both, by row.
        apart: the largest difference by row.
    """

    products: npt.NDArray[np.float64]
    norms: npt.NDArray[np.float64]
    apart: npt.NDArray[np.float64]

    @classmethod
    def of(cls, r: npt.NDArray[np.float64], x: npt.NDArray[np.float64]) -> _Rows:
        right, found = (array.reshape(len(array) if array.ndim else 1, -1) for array in (r, x))
        return cls(
            products=(right * found).sum(axis=1),
            norms=np.linalg.norm(right, axis=1) * np.linalg.norm(found, axis=1),
            apart=np.abs(right - found).max(axis=1),
        )

    def cosines(self, peak: float) -> npt.NDArray[np.float64]:
        """By row.

        Args:
            peak: the largest value of the output, which says what is rounding and what is nothing; 0 of classes.
        """
        with np.errstate(invalid="ignore", divide="ignore"):
            cosines = np.where(self.norms > 0, self.products / self.norms, 0.0)
        # What is 0 has no direction: onnxruntime's Sigmoid is from -18 down, where torch's is 1e-8.
        near = np.where(self.norms > 0, ROUNDING, UNHEARD) * peak
        return np.where(self.apart <= near, 1.0, cosines)
