"""What a range method sees, and the range that one finds."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import cast

from ...profiles.device.grid import Grid
from .. import loggrid
from ..kernels import Counts
from ..statistics import TensorStatistics
from . import METHODS


@dataclass(frozen=True, slots=True, kw_only=True)
class ValueDistribution:
    """What a method sees: extremes and histogram of one range (of all tensors that share it).

    Attributes:
        grid: over which the range will be laid; a symmetric one is mirrored at 0, so only max(|low|, |high|) counts.
    """

    minimum: float
    maximum: float
    histogram: Counts
    grid: Grid


Method = Callable[[ValueDistribution], tuple[float, float]]


def find_range(
    states: Sequence[TensorStatistics], method: str, grid: Grid, told_apart: tuple[float, float] = (-math.inf, math.inf)
) -> tuple[float, float]:
    """The range (low, high), low <= 0 <= high, for the tensors that share it, within what was seen.

    Args:
        told_apart: what lies outside is as good as the nearer end to all who read it, and is counted there.

    Raises:
        InputError: no such method.
        UnservedError: the package that registers it does not import.
    """
    least, most = min(0.0, told_apart[0]), max(0.0, told_apart[1])
    histogram = sum((s.histogram for s in states[1:]), start=states[0].histogram)
    together = ValueDistribution(
        minimum=max(least, min(0.0, *(s.minimum for s in states))),
        maximum=min(most, max(0.0, *(s.maximum for s in states))),
        histogram=loggrid.gathered(histogram, least, most),
        grid=grid,
    )
    low, high = cast(Method, METHODS.load(method))(together)
    return max(low, together.minimum), min(high, together.maximum)
