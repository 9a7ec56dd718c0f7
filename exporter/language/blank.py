"""Weights that say nothing, of the shapes that real ones will have: what is written with them shows a size."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from ...profiles.device.grid import Grid
from .decoder import Decoder, Linear, Tensor
from .quantize import TABLE
from .scales import LARGEST
from .weights import Floats, Integers, Matrix, TensorSource


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class BlankWeights:
    """`Weights` of a plan whose matrices are 0; vectors are those of the checkpoint."""

    decoder: Decoder
    checkpoint: TensorSource
    grids: Mapping[str, Grid | None]

    def array(self, tensor: Tensor) -> Floats:
        """As `Weights`."""
        return self.checkpoint.array(tensor)

    def matrix(self, linear: Linear) -> Matrix:
        """As `Weights`."""
        return _zeros(linear.outputs, linear.inputs, self.grids.get(linear.name))

    def table(self) -> Matrix:
        """As `Weights`."""
        if self.decoder.tied:
            return self.matrix(self.decoder.head)
        return _zeros(self.decoder.vocabulary, self.decoder.width, self.grids.get(TABLE))


def _zeros(rows: int, columns: int, grid: Grid | None) -> Matrix:
    if grid is None:
        return np.zeros((rows, columns), np.float32)
    blocks = -(-columns // (grid.block or columns))
    zeros = None if grid.symmetric else np.zeros((rows, blocks), np.uint8)
    codes, scales = np.zeros((rows, columns), np.uint8), np.full((rows, blocks), LARGEST, np.float32)
    return Integers(grid=grid, codes=codes, scales=scales, zeros=zeros)
