"""The range after which the histogram tells least from the original: minimal Kullback-Leibler divergence.

Szymon Migacz, "8-bit inference with TensorRT", GTC 2017, on a uniform histogram drawn from the log grid.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from .. import loggrid

if TYPE_CHECKING:
    from .distribution import ValueDistribution

Values = npt.NDArray[np.float64]
# Bins of |x|, and how many more each threshold tried has than the one before.
FINE, STRIDE = 2048, 32


def find(seen: ValueDistribution) -> tuple[float, float]:
    """The threshold on |x| with the least divergence, on both sides where symmetric, within the extremes.

    Values next to 0 are left out: every range holds 0 exactly, and the spike of a ReLU would outweigh all the rest, so
    that the least divergence were that of a threshold near 0. A grid as fine as the histogram loses nothing of it, so
    that all that was seen is kept.
    """
    levels = seen.grid.steps // 2 + 1  # of |x|: 128 in 8 bits
    if levels >= FINE:
        return seen.minimum, seen.maximum
    values, counts = loggrid.occupied(seen.histogram)
    largest = max(-seen.minimum, seen.maximum)
    magnitudes = np.abs(values)
    some = magnitudes > largest / FINE
    if not some.any():
        return seen.minimum, seen.maximum
    fine = _uniform(magnitudes[some], counts[some], largest)
    candidates = range(FINE, levels - 1, -STRIDE)[::-1]
    best = min(candidates, key=lambda bins: _divergence(fine, bins, levels))
    threshold = largest * best / FINE
    return max(-threshold, seen.minimum), min(threshold, seen.maximum)


def _uniform(magnitudes: Values, counts: Values, largest: float) -> Values:
    """Counts of |x| in 2048 equal bins up to the largest; a wide bin of the log grid spreads over those it covers."""
    # A bin is 2**-3 of the power of two below it wide, so its half is about 1/24 of a middle value.
    half = magnitudes * 2.0 ** -(loggrid.MANTISSA_BITS + 1) / 1.5
    edges = np.linspace(0.0, largest, FINE + 1)
    low, high = magnitudes - half, magnitudes + half
    width = np.maximum(high - low, np.finfo(float).tiny)
    below = np.clip((edges[:, None] - low) / width, 0.0, 1.0) @ counts
    spread: Values = np.diff(below)
    return spread


def _divergence(fine: Values, bins: int, levels: int) -> float:
    """KL(P || Q): P the first `bins` with the rest folded into the last, Q the same at so many levels."""
    kept = fine[:bins].copy()
    reference = kept.copy()
    reference[-1] += fine[bins:].sum()
    groups = (np.arange(bins) * levels) // bins
    filled = kept > 0
    sums = np.bincount(groups, weights=kept, minlength=levels)
    occupied = np.bincount(groups, weights=filled, minlength=levels)
    quantized = np.where(filled, sums[groups] / np.maximum(occupied[groups], 1), 0.0)
    tiny = np.finfo(float).tiny
    p, q = reference / max(reference.sum(), tiny), quantized / max(quantized.sum(), tiny)
    use = p > 0
    return float((p[use] * np.log(p[use] / np.maximum(q[use], 1e-12))).sum())
