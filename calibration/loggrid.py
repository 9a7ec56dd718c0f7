"""A histogram whose bins are fixed before any data is seen: the top bits of a float32 are the bin.

Sign, exponent and the first three bits of the mantissa make 4096 bins, eight to an octave. Because the grid never
depends on the data, counts of two data sets add, exactly and in any order.
"""

from __future__ import annotations

from functools import cache

import numpy as np
import numpy.typing as npt

Counts = npt.NDArray[np.int64]
Values = npt.NDArray[np.float64]
MANTISSA_BITS = 3
SHIFT = 23 - MANTISSA_BITS
BINS = 1 << (32 - SHIFT)
# Counting goes through a 64-bit copy of the bin indices; in blocks of this many elements it stays in the second cache.
BLOCK = 1 << 15


def count(array: npt.NDArray[np.float32]) -> Counts:
    """How many elements of a finite, contiguous float32 array fall into each bin, int64 of shape (4096,)."""
    bits = array.reshape(-1).view(np.uint32)
    counts = np.zeros(BINS, np.int64)
    for start in range(0, len(bits), BLOCK):
        counts += np.bincount(bits[start : start + BLOCK] >> SHIFT, minlength=BINS)
    return counts


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
