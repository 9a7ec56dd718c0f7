"""How close two runtimes' outputs are."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from ...errors import VerificationError
from .channels import ROUNDING, UNHEARD, ChannelGroup, ChannelScales, sqnr
from .decided import Decided, least_of_codes_db, may_differ
from .rows import Likes, Rows, aligned
from .spread import Few, SampleSums, noisy, spread

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
_Doubles = npt.NDArray[np.float64]


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
        decided: of classes and places, and of a set of which some rows have no like.
        noisy: those that hold what differs, where not many do.
    """

    sqnr_db: float
    max_abs: float
    cosine: float
    argmax: float | None
    groups: tuple[ChannelGroup, ...] = ()
    lower_db: float | None = None
    few: Few | None = None
    decided: Decided | None = None
    noisy: Few | None = None

    @property
    def assured_db(self) -> float:
        """As `weakest_db`, with what is left of the whole on other samples of the kind."""
        return self.weakest_db if self.lower_db is None else min(self.weakest_db, self.lower_db)

    @property
    def weakest_db(self) -> float:
        """SQNR of the whole or of a group of its channels, whichever is least: what an output is judged by."""
        return min([self.sqnr_db, *(group.sqnr_db for group in self.groups)])

    def reaches(self, least_db: float) -> bool:
        """Whether it is as close as that; what differs by the rounding of float32 at 1 is, however small the output.

        Of decisions as many may differ as amounts of that SQNR decide otherwise, and one of not too few.
        """
        if self.weakest_db >= least_db or self.max_abs <= ROUNDING:
            return True
        return self.decided is not None and self.decided.reaches(least_db)

    def assures(self, least_db: float) -> bool:
        """As `reaches`, on other samples of the kind as well: of one that differs nothing is sure, nor of rows."""
        if self.assured_db >= least_db or self.max_abs <= ROUNDING:
            return True
        return self.decided is not None and self.decided.others_db is None and self.decided.reaches(least_db, sure=True)

    def __str__(self) -> str:
        weakest = min(self.groups, key=lambda group: group.sqnr_db, default=None)
        part = "" if weakest is None else f"{weakest}: {weakest.sqnr_db:.1f} dB, "
        return (
            f"SQNR {self.sqnr_db:.1f} dB, {part}{self._rows()}largest difference {self.max_abs:.3g}, "
            f"cosine {self.cosine:.5f}{'' if self.argmax is None else f', argmax agreement {self.argmax:.1%}'}"
        )

    def _rows(self) -> str:
        """What is to be said of rows without a like."""
        if self.decided is None or self.decided.others_db is None:
            return ""
        share = self.decided.differ / self.decided.of
        return f"rows without a like {share:.1%} (the others {self.decided.others_db:.1f} dB), "


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
    likes: list[dict[str, Likes]] = []
    if sets := tuple(rows):
        each = [aligned(right, found, sets) for right, found in zip(references, outputs, strict=True)]
        references, outputs = [right for right, _, _ in each], [found for _, found, _ in each]
        likes = [like for _, _, like in each]
    found = {
        name: _one(name, [r[name] for r in references], [_get(o, name) for o in outputs], (by_sample or {}).get(name))
        for name in names
    }
    for name in {name for one in sets for name in one.outputs}:  # rows are no samples, and weigh what their scores say
        found[name] = replace(found[name], few=None, noisy=None)
        if all(name in one for one in likes):
            mine = [one[name] for one in likes]
            found[name] = _with_rows(found[name], name, [r[name] for r in references], [o[name] for o in outputs], mine)
    return found


def _with_rows(one: Parity, name: str, right: list[Array], found: list[Array], likes: Sequence[Likes]) -> Parity:
    """The parity of a set's amounts with what the rows without a like are of it."""
    if all(like.pairs.all() for like in likes):
        return one
    ours, theirs = ([array[like.pairs] for array, like in zip(each, likes, strict=True)] for each in (right, found))
    decided = Decided.of_rows(Likes.joined(likes), _one(name, ours, theirs, None).weakest_db)
    return replace(one, decided=decided)


def worst(parities: Mapping[str, Parity]) -> Parity:
    """The parity of the output that is furthest off, in whole or in a group of its channels."""
    return min(parities.values(), key=lambda p: p.weakest_db)


def assured_db(parities: Mapping[str, Parity]) -> float:
    """What the output that is furthest off has on other samples of the kind as well, in dB."""
    return min(p.assured_db for p in parities.values())


def is_codes(array: Array) -> bool:
    """Whether these are classes or places, which agree or do not, and no amounts."""
    return _holds_codes(array.dtype)


def _holds_codes(dtype: np.dtype[Any]) -> bool:
    return dtype.kind == "b" or (dtype.kind in "iu" and dtype.itemsize in _CODES)


def least_in_all_db(least_db: float, dtype: str, elements: int) -> float:
    """What is asked of a whole output where `least_db` is asked of amounts, as `Parity.reaches` has it.

    Args:
        dtype: numpy's name of its type.
        elements: how many are compared.
    """
    if not elements or not _holds_codes(np.dtype(dtype)):
        return least_db
    return 10 * math.log10(elements / may_differ(elements, least_db))


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
    return figure(least_of_codes_db(least_db), array) if is_codes(array) else f"{least_db:g} dB"


def _get(outputs: Mapping[str, Array], name: str) -> Array:
    if name not in outputs:
        raise VerificationError(f"Output {name!r} is missing; the engine gave {', '.join(sorted(outputs))}.")
    return outputs[name]


@dataclass(slots=True, kw_only=True)
class _Output:
    """One output beside its references, batch after batch.

    Attributes:
        axis: where its samples lie, None where a batch is one sample.
        signal, noise: squares of the references and of the differences; of codes their number, and how many differ.
        largest: the largest difference; inf where a reference is NaN.
        peak: the largest finite value of the references.
        agree: for each batch, the share of samples with the same best score.
        codes: they are classes or places.
    """

    name: str
    axis: int | None
    signal: float = 0.0
    noise: float = 0.0
    largest: float = 0.0
    peak: float = 0.0
    energies: list[SampleSums] = field(default_factory=list)
    rows: list[_Rows] = field(default_factory=list)
    agree: list[float] = field(default_factory=list)
    channels: ChannelScales = field(default_factory=ChannelScales)
    codes: bool = False

    def add(self, index: int, reference: Array, output: Array) -> None:
        """Compare the batch of this index."""
        r, x = self._finite(index, *self._shaped(_comparable(self.name, reference), _comparable(self.name, output)))
        if r.size == 0:
            return
        difference = r - x
        if is_codes(reference):
            self.codes = True
            self.signal, self.noise = self.signal + float(r.size), self.noise + float((difference != 0).sum())
        else:
            self._add_amounts(r, x, difference)
        # NaN in a reference agrees with nothing, NaN included.
        self.largest = math.inf if np.isnan(r).any() else max(self.largest, float(np.abs(difference).max()))
        self.rows.append(_Rows.of(r, x))
        if _may_be_scores(reference):
            self.agree.append(float(np.mean(r.argmax(-1) == x.argmax(-1))))

    def parity(self) -> Parity:
        """What all batches say."""
        least, held = spread(self.energies)
        cosines = [row.cosines(self.peak) for row in self.rows]
        return Parity(
            sqnr_db=sqnr(self.signal, self.noise),
            max_abs=self.largest,
            cosine=float(np.mean(np.concatenate(cosines))) if cosines else 1.0,
            argmax=float(np.mean(self.agree)) if self.agree else None,
            groups=self.channels.groups(),
            lower_db=least,
            few=held,
            decided=Decided(of=self.signal, differ=self.noise) if self.codes else None,
            noisy=noisy(self.energies),
        )

    def _shaped(self, r: _Doubles, x: _Doubles) -> tuple[_Doubles, _Doubles]:
        if r.shape != x.shape:
            raise VerificationError(
                f"Output {self.name!r} has shape {x.shape}, the reference {r.shape}.",
                hint=_ROWS if r.ndim == x.ndim else _RANK,
            )
        return r, x

    def _finite(self, index: int, r: _Doubles, x: _Doubles) -> tuple[_Doubles, _Doubles]:
        """Both, where nothing is NaN or Inf that the reference is not; infinities that both hold are zeros."""
        r, x = _without_equal_infinities(r, x)
        if (np.isfinite(r) & ~np.isfinite(x)).any():
            said = f"Output {self.name!r} holds NaN or Inf where the reference is finite."
            raise NotFiniteError.at(index, said, None if np.isnan(x).any() else _INFINITE)
        return r, x

    def _add_amounts(self, r: _Doubles, x: _Doubles, difference: _Doubles) -> None:
        self.signal, self.noise = (
            self.signal + float((r * r).sum()),
            self.noise + float((difference * difference).sum()),
        )
        self.energies.append(SampleSums.of(r, difference, self.axis))
        self.peak = max(self.peak, float(np.abs(r[np.isfinite(r)]).max(initial=0.0)))
        if np.isfinite(difference).all():
            self.channels.add(r, x)


def _one(name: str, references: list[Array], outputs: list[Array], axis: int | None) -> Parity:
    output = _Output(name=name, axis=axis)
    for index, pair in enumerate(zip(references, outputs, strict=True)):
        output.add(index, *pair)
    return output.parity()


def _comparable(name: str, array: Array) -> _Doubles:
    if array.dtype.kind not in "fiub":
        what = _KINDS.get(array.dtype.kind, array.dtype.name)
        raise VerificationError(
            f"Output {name!r} is {what}, and only real numbers can be compared.",
            hint="Return the real and the imaginary part as outputs of their own (torch.view_as_real)."
            if array.dtype.kind == "c"
            else "Return the numbers that it is made of (an index, a code), and look it up outside of the model.",
        )
    return array.astype(np.float64)


def _without_equal_infinities(r: _Doubles, x: _Doubles) -> tuple[_Doubles, _Doubles]:
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

    products: _Doubles
    norms: _Doubles
    apart: _Doubles

    @classmethod
    def of(cls, r: _Doubles, x: _Doubles) -> _Rows:
        right, found = (array.reshape(len(array) if array.ndim else 1, -1) for array in (r, x))
        return cls(
            products=(right * found).sum(axis=1),
            norms=np.linalg.norm(right, axis=1) * np.linalg.norm(found, axis=1),
            apart=np.abs(right - found).max(axis=1),
        )

    def cosines(self, peak: float) -> _Doubles:
        """By row.

        Args:
            peak: the largest value of the output, which says what is rounding and what is nothing; 0 of classes.
        """
        with np.errstate(invalid="ignore", divide="ignore"):
            cosines = np.where(self.norms > 0, self.products / self.norms, 0.0)
        # What is 0 has no direction: onnxruntime's Sigmoid is from -18 down, where torch's is 1e-8.
        near = np.where(self.norms > 0, ROUNDING, UNHEARD) * peak
        return np.where(self.apart <= near, 1.0, cosines)
