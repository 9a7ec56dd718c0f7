"""When more samples would no longer change the ranges by anything that matters."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from ..profiles.device.grid import Grid
from .affine import Affine, represented
from .collect import Collected
from .ranges import mse
from .statistics import TensorStatistics

Ranges = Callable[[Mapping[str, TensorStatistics]], Mapping[str, Affine]]
# 5 % more quantization noise is 0.2 dB in one tensor, less than the choice of the samples makes.
TOLERANCE = 0.05


class Settled:
    """Asked whenever the sample count has doubled; true once the ranges of half the samples serve all of them as well.

    As well: no tensor, quantized in the ranges that half the samples gave, has more than 5 % more expected noise on
    all samples so far than in its newest ranges.
    """

    def __init__(self, ranges: Ranges, grid: Grid) -> None:
        """`ranges` gives scale and zero point of every tensor from the states so far."""
        self._ranges, self._grid = ranges, grid
        self._before: Mapping[str, Affine] = {}

    def __call__(self, collected: Collected) -> bool:
        """Whether the rest of the data need not be read."""
        tensors = collected.tensors
        before, self._before = self._before, self._ranges(tensors)
        return bool(before) and all(
            self._noise(state, before[name]) <= (1 + TOLERANCE) * self._noise(state, self._before[name])
            for name, state in tensors.items()
            if name in before
        )

    def _noise(self, state: TensorStatistics, affine: Affine) -> float:
        return mse.noise(state.histogram, *represented(affine, self._grid), self._grid)
