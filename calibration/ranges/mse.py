"""The range whose quantization adds least noise (Banner et al. 2019; Nagel et al. 2021, section 3.1).

Inside the range a bin costs the mean squared rounding error over it, outside the squared distance to the nearer end.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from .. import loggrid
from ..affine import STEPS, SYMMETRIC_LIMIT
from ..kernels import Counts

if TYPE_CHECKING:
    from . import Distribution

Values = npt.NDArray[np.float64]
# Ends tried, as shares of the extreme; below a fifth no distribution seen was served better.
SHARES: Values = np.geomspace(1.0, 0.2, 65)


def find(seen: Distribution) -> tuple[float, float]:
    """The best range over a grid of shrunk extremes; one end after the other, twice, where both may move."""
    bins = loggrid.occupied_bins(seen.histogram)
    low, high = seen.minimum, seen.maximum
    if seen.symmetric:
        limits = max(-low, high) * SHARES
        best = float(limits[np.argmin(_costs(bins, seen.histogram, -limits, limits, 2 * SYMMETRIC_LIMIT))])
        return -best, best
    for _ in range(2):
        highs = seen.maximum * SHARES
        high = float(highs[np.argmin(_costs(bins, seen.histogram, np.full_like(highs, low), highs, STEPS))])
        lows = seen.minimum * SHARES
        low = float(lows[np.argmin(_costs(bins, seen.histogram, lows, np.full_like(lows, high), STEPS))])
    return low, high


def noise(histogram: Counts, low: float, high: float) -> float:
    """Expected squared error, summed over the elements, of 8-bit rounding and clipping to `low..high`."""
    bins = loggrid.occupied_bins(histogram)
    return float(_costs(bins, histogram, np.asarray([low]), np.asarray([high]), STEPS)[0])


def _costs(bins: npt.NDArray[np.intp], histogram: Counts, lows: Values, highs: Values, steps: int) -> Values:
    """Expected squared error of each candidate range, shape of `lows`."""
    values, counts = loggrid.centers()[bins], histogram[bins]
    inner, outer = (edge[bins] for edge in loggrid.edges())
    step = np.maximum((highs - lows) / steps, np.finfo(np.float32).tiny)[:, None]
    clipped = values - np.clip(values, lows[:, None], highs[:, None])
    error = np.where(clipped == 0, _rounding(np.abs(inner), np.abs(outer), step), clipped**2)
    costs: Values = (error * counts).sum(axis=1)
    return costs


def _rounding(inner: Values, outer: Values, step: Values) -> Values:
    """Mean of (x - round(x / step) * step)^2 for x uniform in inner..outer, exactly.

    With u = x / step, n = round(u) and r = u - n, the antiderivative of (u - round(u))^2 is n / 12 + r^3 / 3.
    """

    def area(x: Values) -> Values:
        whole = np.rint(u := x / step)
        rest = u - whole
        return whole / 12 + rest * rest * rest / 3  # not **3, which is a call of pow() an element

    width = (outer - inner) / step
    narrow = width < 1e-6  # zero, and denormals: the bin is a point
    mean = (area(outer) - area(inner)) / np.where(narrow, 1.0, width)
    return np.where(narrow, (inner / step - np.rint(inner / step)) ** 2, mean) * step**2
