"""The loop over every element of an activation: compiled where the package was built with a C compiler, else numpy.

Both count the same. Their float32 sums are added in another order, and so may differ in the last bits.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from . import exact

try:
    from . import _kernels as compiled
except ImportError:  # no C compiler at installation: as exact, several times slower
    compiled = None  # type: ignore[assignment]

Floats = npt.NDArray[np.float32]
Counts = npt.NDArray[np.int64]
SHIFT = 20  # the top 12 bits of a float32 are its bin
BINS = 1 << (32 - SHIFT)
FIRST_INF = 0xFF << (31 - SHIFT - 8)  # the bins of exponent 255 and no sign begin here
# numpy counts through a 64-bit copy of the bin indices; in blocks of this many elements it stays in the second cache.
BLOCK = 1 << 15
FLOAT32_MAX = float(np.finfo(np.float32).max)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Seen:
    """What the arrays added so far held, by channel; added to in place.

    Attributes:
        counts: how many elements have each value of the top 12 bits, int64 of shape (4096,).
        total, square: exact sums of x and x^2 in limbs, int64 of shape (15, C), or (15, 0) where not asked for.
        minimum, maximum: float32 of shape (C,), or (0,).
    """

    counts: Counts
    total: exact.Limbs
    square: exact.Limbs
    minimum: Floats
    maximum: Floats

    @classmethod
    def nothing(cls, channels: int, *, sums: bool, squares: bool, spread: bool) -> Seen:
        """Before the first array."""
        limbs = len(exact.EXPONENTS)
        return cls(
            counts=np.zeros(BINS, np.int64),
            total=np.zeros((limbs, channels * sums), np.int64),
            square=np.zeros((limbs, channels * squares), np.int64),
            minimum=np.full(channels * spread, np.inf, np.float32),
            maximum=np.full(channels * spread, -np.inf, np.float32),
        )

    def finite(self) -> bool:
        """Whether neither Inf nor NaN was added: the bins of the highest exponent, of either sign, are empty."""
        return not (self.counts[FIRST_INF : BINS // 2].any() or self.counts[BINS // 2 + FIRST_INF :].any())


def observe(values: Floats, into: Seen) -> None:
    """Look once at every element of a contiguous float32 array of shape (O, M, C, I), C the channels.

    Sums over the M and I of one O are float32; all others are exact.
    """
    if not compiled:
        with np.errstate(invalid="ignore", over="ignore"):  # Inf minus Inf is a NaN that the counts tell of
            _observe(values, into)
        return
    asked = (into.total, into.square, into.minimum, into.maximum)
    compiled.observe(values, values.shape, into.counts, *(array if array.size else None for array in asked))


def _observe(values: Floats, into: Seen) -> None:
    np.add(into.counts, _count(values.reshape(-1)), out=into.counts)
    if into.total.size:
        np.add(into.total, exact.limbs(_in_range(np.einsum("omci->oc", values))), out=into.total)
    if into.square.size:
        np.add(into.square, exact.limbs(_in_range(np.einsum("omci,omci->oc", values, values))), out=into.square)
    if into.minimum.size:
        # Over the samples first: the rows of deep layers are short, and each costs numpy a call.
        np.minimum(into.minimum, values.min(0).min((0, 2)), out=into.minimum)
        np.maximum(into.maximum, values.max(0).max((0, 2)), out=into.maximum)


def _count(values: Floats) -> Counts:
    counts, bits = np.zeros(BINS, np.int64), values.view(np.uint32)
    for start in range(0, len(bits), BLOCK):
        counts += np.bincount(bits[start : start + BLOCK] >> SHIFT, minlength=BINS)
    return counts


def _in_range(sums: Floats) -> Floats:
    """The sums; one that left float32's range stays at its end, and what is no number is told by the counts."""
    if np.isfinite(sums).all():
        return sums
    return np.nan_to_num(sums, posinf=FLOAT32_MAX, neginf=-FLOAT32_MAX)
