"""Golden data of a decoder's bundle: tokens of a text, and how likely FP32 and the engine hold what follows.

Only the likeliest tokens are written by name, all others as one: a divergence of that is at most the whole one (the
data-processing inequality), and 49,000 probabilities a token would be larger than the model. Nothing here needs torch.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields
from itertools import pairwise
from pathlib import Path

import numpy as np
import numpy.typing as npt

from ...backends.decoding import Decoding, Logits, Tokens
from ...calibration.arrays import read_arrays
from ...errors import UnreadableError, VerificationError

FILE = "text.npz"
NAMED = 64  # tokens that are written by name, of each position
# What two runs of one engine on different processors may differ by, in nats a token: sums in another order, activations
# rounded to 8 bits another way. A wrong weight in one of a hundred layers is above it.
LEAST_OWN, MARGIN = 2e-3, 2.0
# And by which their log-probabilities may, as SQNR: of a model that is sure of nothing no divergence is large.
LEAST_DB = 10.0
_AGAIN = "Copy the bundle again, whole."
_OTHERWISE = (
    "Another version of the runtime, or another processor, computes otherwise: export on a machine of this kind."
)


@dataclass(frozen=True, slots=True, kw_only=True)
class TextGolden:
    """Sequences of tokens and what followed them.

    Attributes:
        tokens: of shape (sequences, count), int64.
        named: the likeliest tokens by FP32, of shape (sequences, count, named), int32.
        reference: FP32's log-probabilities (nats) of these, and last of all others together, float32.
        own: the same tokens by the engine as it was proven.
    """

    tokens: Tokens
    named: npt.NDArray[np.int32]
    reference: npt.NDArray[np.float32]
    own: npt.NDArray[np.float32]

    def save(self, directory: Path) -> None:
        """Write `text.npz`."""
        directory.mkdir(parents=True, exist_ok=True)
        arrays = {field.name: getattr(self, field.name) for field in fields(self)}
        np.savez(directory / FILE, **arrays)

    @classmethod
    def load(cls, directory: Path) -> TextGolden:
        """Read what `save` wrote.

        Raises:
            VerificationError: the file is missing or damaged, or its arrays do not fit each other.
        """
        try:
            arrays = read_arrays(directory / FILE)
        except UnreadableError as error:
            raise VerificationError(f"Golden file {FILE} cannot be read: {error.reason}.", hint=_AGAIN) from error
        names = {field.name for field in fields(cls)}
        if not isinstance(arrays, dict) or arrays.keys() != names:
            raise VerificationError(f"Golden file {FILE} does not hold {', '.join(sorted(names))}.", hint=_AGAIN)
        golden = cls(**arrays)  # type: ignore[arg-type]
        golden._check()
        return golden

    def _check(self) -> None:
        shape = self.named.shape
        whole = (
            len(shape) == 3
            and self.tokens.dtype == np.int64
            and self.named.dtype == np.int32
            and self.tokens.shape == shape[:2]
            and 0 not in shape
            and bool((self.named >= 0).all())
        )
        for values in (self.reference, self.own):
            whole = whole and values.dtype == np.float32 and values.shape == (*shape[:2], shape[2] + 1)
            whole = whole and bool(np.isfinite(values).all())
            whole = whole and bool(np.allclose(np.exp(values.astype(np.float64)).sum(-1), 1, atol=1e-3))
        if not whole:
            raise VerificationError(f"Golden file {FILE} holds arrays that do not fit each other.", hint=_AGAIN)

    def answers(self, decoding: Decoding) -> npt.NDArray[np.float32]:
        """What an open decoder holds likely there, in the form of `own`.

        Raises:
            VerificationError: it gives what is no number.
        """
        count = self.tokens.shape[1]
        return np.stack([self._answer(decoding, index, [count]) for index in range(len(self.tokens))])

    def answers_in_parts(self, decoding: Decoding) -> npt.NDArray[np.float32]:
        """The same, where all but the first half of a sequence is read behind a cache: two tokens apart, the rest.

        Raises:
            VerificationError: as `answers`.
        """
        count = self.tokens.shape[1]
        ends = sorted({*range(count // 2, min(count // 2 + 3, count)), count} - {0})
        return np.stack([self._answer(decoding, index, ends) for index in range(len(self.tokens))])

    def _answer(self, decoding: Decoding, index: int, ends: Sequence[int]) -> npt.NDArray[np.float32]:
        decoding.reset()
        tokens, parts = self.tokens[index : index + 1], pairwise((0, *ends))
        logits = np.concatenate([decoding(tokens[:, begin:end]) for begin, end in parts], axis=1)[0]
        if self.named.max(initial=0) >= logits.shape[-1] or not np.isfinite(logits).all():
            raise VerificationError("The engine gives logits that are no numbers, or fewer than the model has tokens.")
        return named_part(logits, self.named[index])


def named_part(logits: Logits, named: npt.NDArray[np.int32]) -> npt.NDArray[np.float32]:
    """Log-probabilities (nats) of some tokens, and last of all others together.

    Args:
        logits: of shape (count, vocabulary).
        named: of shape (count, named).
    """
    wide = logits.astype(np.float64)
    wide -= wide.max(-1, keepdims=True)
    wide -= np.log(np.exp(wide).sum(-1, keepdims=True))
    known = np.take_along_axis(wide, named.astype(np.int64), -1)
    # What is left may round to nothing, or below; a probability of 1e-12 changes no divergence of interest.
    left = np.maximum(1 - np.exp(known).sum(-1, keepdims=True), 1e-12)
    return np.concatenate([known, np.log(left)], -1).astype(np.float32)


def likeliest(logits: Logits, count: int = NAMED) -> npt.NDArray[np.int32]:
    """The tokens of the largest logits, the likeliest first, of shape (positions, count)."""
    count = min(count, logits.shape[-1])
    found = np.argpartition(-logits, count - 1, axis=-1)[..., :count]
    order = np.argsort(-np.take_along_axis(logits, found, -1), axis=-1, kind="stable")
    return np.take_along_axis(found, order, -1).astype(np.int32)


def golden_of(sequences: Iterable[tuple[Tokens, Logits, Logits]]) -> TextGolden:
    """Golden data of sequences of one length, each with the logits of FP32 and of the engine, (count, vocabulary)."""
    tokens, named, reference, own = [], [], [], []
    for sequence, by_reference, by_engine in sequences:
        tokens.append(sequence)
        named.append(likeliest(by_reference))
        reference.append(named_part(by_reference, named[-1]))
        own.append(named_part(by_engine, named[-1]))
    return TextGolden(
        tokens=np.stack(tokens).astype(np.int64),
        named=np.stack(named),
        reference=np.stack(reference),
        own=np.stack(own),
    )


def divergence(of: npt.NDArray[np.float32], by: npt.NDArray[np.float32]) -> npt.NDArray[np.float64]:
    """Kullback-Leibler divergence D(of || by) at each position in nats; arrays as `TextGolden.reference`."""
    wide = of.astype(np.float64)
    terms = np.exp(wide) * (wide - by.astype(np.float64))
    return np.asarray(terms.sum(-1), dtype=np.float64)


@dataclass(frozen=True, slots=True, kw_only=True)
class TextBounds:
    """What an engine's answers to the golden text are held to, mean divergences in nats a token.

    Attributes:
        fp32: from FP32.
        own: from the engine as it was proven.
    """

    fp32: float
    own: float


def bounds_of(golden: TextGolden) -> TextBounds:
    """Bounds for a device, from what was seen where the bundle was made."""
    seen = float(divergence(golden.reference, golden.own).mean())
    return TextBounds(fp32=MARGIN * max(seen, LEAST_OWN), own=max(LEAST_OWN, seen / 4))


def check_text(golden: TextGolden, answers: npt.NDArray[np.float32], bounds: TextBounds) -> TextBounds:
    """How far answers are from FP32 and from the engine as it was proven.

    Raises:
        VerificationError: further than the bounds.
    """
    found = TextBounds(
        fp32=float(divergence(golden.reference, answers).mean()), own=float(divergence(golden.own, answers).mean())
    )
    for what, value, most in (
        ("FP32", found.fp32, bounds.fp32),
        ("the engine as it was proven", found.own, bounds.own),
    ):
        if not value <= most:
            raise VerificationError(
                f"On the golden text the engine is {value:.4f} nats a token from {what}; at most {most:.4f} is let "
                "pass.",
                hint=_OTHERWISE,
            )
    if not (near := _sqnr_db(golden.own, answers)) >= LEAST_DB:
        raise VerificationError(
            f"On the golden text the engine's log-probabilities have {near:.1f} dB of SQNR against those that it gave "
            f"where it was proven; {LEAST_DB:g} are needed.",
            hint=_OTHERWISE,
        )
    return found


def _sqnr_db(own: npt.NDArray[np.float32], answers: npt.NDArray[np.float32]) -> float:
    """Of the named tokens, each position about its mean: what all of them have in common says nothing."""
    signal, found = (values[..., :-1].astype(np.float64) for values in (own, answers))
    signal, found = (values - values.mean(-1, keepdims=True) for values in (signal, found))
    noise = float(((signal - found) ** 2).sum())
    power = float((signal**2).sum())
    return math.inf if noise == 0 else 10 * math.log10(power / noise) if power else -math.inf
