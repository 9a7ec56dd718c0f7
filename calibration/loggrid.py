"""A histogram whose bins are fixed before any data is seen: the top bits of a float32 are the bin.

Sign, exponent and the first three bits of the mantissa make 4096 bins, eight to an octave. Because the grid never
depends on the data, counts of two data sets add, exactly and in any order. kernels.py counts.
"""

from __future__ import annotations

from functools import cache

import numpy as np
import numpy.typing as npt

from .kernels import BINS, SHIFT, Counts

MANTISSA_BITS = 23 - SHIFT
Values = npt.NDArray[np.float64]


@cache
def edges() -> tuple[Values, Values]:
    """Smallest and largest magnitude of each bin, signed, float64 of shape (4096,); NaN for those of Inf and NaN."""
    starts = (np.arange(BINS, dtype=np.uint64) << SHIFT).astype(np.uint32)
    with np.errstate(invalid="ignore"):
        inner = starts.view(np.float32).astype(np.float64)
        outer = (starts + np.uint32((1 << SHIFT) - 1)).view(np.float32).astype(np.float64)
    usable = np.isfinite(inner) & np.isfinite(outer)
    return np.where(usable, inner, np.nan), np.where(usable, outer, np.nan)


def centers() -> Values:
    """The middle of each bin, float64 of shape (4096,); 0 for the two bins that hold zero."""
    inner, outer = edges()
    middle = (inner + outer) / 2
    middle[[0, BINS // 2]] = 0.0
    return middle


def occupied(counts: Counts) -> tuple[Values, Values]:
    """Centers and counts of the bins that hold anything, in order of value."""
    used = occupied_bins(counts)
    return centers()[used], counts[used].astype(np.float64)


def occupied_bins(counts: Counts) -> npt.NDArray[np.intp]:
    """Indices of the bins that hold anything, in order of value."""
    used = np.flatnonzero(counts)
    return used[np.argsort(centers()[used], kind="stable")]


def gathered(counts: Counts, low: float, high: float) -> Counts:
    """The histogram with what lies outside a range in the bins of its ends."""
    found = counts.copy()
    for beyond, end in ((centers() < low, low), (centers() > high, high)):
        if outside := int(counts[beyond].sum()):
            found[beyond] = 0
            found[int(np.float32(end).view(np.uint32)) >> SHIFT] += outside
    return found
