"""The range whose quantization adds least noise (Banner et al. 2019; Nagel et al. 2021, section 3.1).

Inside the range a bin costs the mean squared rounding error over it, outside the squared distance to the nearer end.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from ...profiles.device.grid import Grid
from .. import loggrid
from ..kernels import Counts

if TYPE_CHECKING:
    from .distribution import ValueDistribution

Values = npt.NDArray[np.float64]
# Ends tried, as shares of the extreme, so many for each factor of 5. In 8 bits no distribution seen was served better
# below a fifth; each bit less halves what is worth trying.
LEAST, LEAST_BITS, TRIED = 0.2, 8, 64


def find(seen: ValueDistribution) -> tuple[float, float]:
    """The best range over a grid of shrunk extremes; one end after the other, twice, where both may move.

    With more steps than the histogram has bins all that was seen is kept: what clipping costs within a bin is unknown,
    and is much against so fine a step.
    """
    bins, steps, shares = loggrid.occupied_bins(seen.histogram), seen.grid.steps, _shares(seen.grid)
    low, high = seen.minimum, seen.maximum
    if steps >= len(seen.histogram):
        return low, high
    if seen.grid.symmetric:
        limits = max(-low, high) * shares
        best = float(limits[np.argmin(_costs(bins, seen.histogram, -limits, limits, steps))])
        return -best, best
    for _ in range(2):
        highs = seen.maximum * shares
        high = float(highs[np.argmin(_costs(bins, seen.histogram, np.full_like(highs, low), highs, steps))])
        lows = seen.minimum * shares
        low = float(lows[np.argmin(_costs(bins, seen.histogram, lows, np.full_like(lows, high), steps))])
    return low, high


def _shares(grid: Grid) -> Values:
    least = min(LEAST, LEAST * 2.0 ** (grid.depth - LEAST_BITS))
    return np.geomspace(1.0, least, 1 + round(TRIED * float(np.log(least) / np.log(LEAST))))


def noise(histogram: Counts, low: float, high: float, grid: Grid) -> float:
    """Expected squared error, summed over the elements, of rounding to a grid over `low..high` and clipping to it."""
    bins = loggrid.occupied_bins(histogram)
    return float(_costs(bins, histogram, np.asarray([low]), np.asarray([high]), grid.steps)[0])


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
