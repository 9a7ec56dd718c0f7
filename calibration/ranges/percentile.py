"""Cut a fixed share of the values off the tails (McKinstry et al. 2018)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from .. import loggrid

if TYPE_CHECKING:
    from .distribution import ValueDistribution

# As a share of all values, over both tails together: 99.99 % are kept.
CUT = 1e-4


def find(seen: ValueDistribution) -> tuple[float, float]:
    """The range that holds 99.99 % of the values: of |x| where symmetric, half the rest cut at each side otherwise."""
    values, counts = loggrid.occupied(seen.histogram)
    if seen.grid.symmetric:
        order = np.argsort(np.abs(values), kind="stable")
        kept = abs(_quantile(values[order], counts[order], 1 - CUT))
        return -kept, kept
    low, high = (_quantile(values, counts, share) for share in (CUT / 2, 1 - CUT / 2))
    return min(low, 0.0), max(high, 0.0)


def _quantile(values: npt.NDArray[np.float64], counts: npt.NDArray[np.float64], share: float) -> float:
    """The value below which, in the order given, at least this share of the counts lies."""
    index = int(np.searchsorted(np.cumsum(counts), share * counts.sum()))
    return float(values[min(index, len(values) - 1)])
