"""When more samples no longer change the ranges."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from .affine import Affine
from .collect import Collector
from .statistics import TensorStatistics

# Looked at whenever the sample count has doubled, from 128 on: fewer samples can agree by chance.
FIRST, TOLERANCE = 128, 0.02


class Settled:
    """Asked after each batch; true once doubling the samples moved no scale by more than 2 %."""

    def __init__(self, ranges: Callable[[Mapping[str, TensorStatistics]], Mapping[str, Affine]]) -> None:
        """`ranges` gives scale and zero point of every tensor from the states so far."""
        self._ranges = ranges
        self._before: Mapping[str, Affine] = {}
        self._next = FIRST

    def __call__(self, collector: Collector) -> bool:
        """Whether the rest of the data need not be read."""
        if collector.samples < self._next:
            return False
        before, self._before = self._before, self._ranges(collector.tensors)
        self._next = 2 * collector.samples
        return bool(before) and all(
            abs(now.scale - before[name].scale) <= TOLERANCE * before[name].scale for name, now in self._before.items()
        )
