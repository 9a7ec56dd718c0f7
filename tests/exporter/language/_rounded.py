"""Weights of a decoder as they are, and rounded to a grid in the plainest way."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from edgepress.exporter.language.decoder import Decoder, Linear, Tensor
from edgepress.exporter.language.weights import Integers, Matrix, TensorSource
from edgepress.profiles.device.grid import Grid

Floats = npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Plain:
    decoder: Decoder
    checkpoint: TensorSource

    def array(self, tensor: Tensor) -> Floats:
        return self.checkpoint.array(tensor)

    def matrix(self, linear: Linear) -> Matrix:
        return self.checkpoint.array(linear.weight)

    def table(self) -> Matrix:
        return self.checkpoint.array(self.decoder.embedding)


@dataclass(frozen=True, slots=True)
class Rounded:
    """Everything on one grid."""

    decoder: Decoder
    checkpoint: TensorSource
    grid: Grid

    def array(self, tensor: Tensor) -> Floats:
        return self.checkpoint.array(tensor)

    def matrix(self, linear: Linear) -> Matrix:
        return rounded(self.checkpoint.array(linear.weight), self.grid)

    def table(self) -> Matrix:
        return rounded(self.checkpoint.array(self.decoder.embedding), self.grid)


@dataclass(frozen=True, slots=True)
class Restored(Rounded):
    """The same in floats."""

    def matrix(self, linear: Linear) -> Matrix:
        return rounded(self.checkpoint.array(linear.weight), self.grid).floats()

    def table(self) -> Matrix:
        return rounded(self.checkpoint.array(self.decoder.embedding), self.grid).floats()


def rounded(matrix: Floats, grid: Grid) -> Integers:
    """The codes nearest to it, with scales of 16 bits."""
    rows, width = matrix.shape
    block = grid.block or width
    count = -(-width // block)
    blocks = np.pad(matrix, ((0, 0), (0, count * block - width))).reshape(rows, count, block)
    top = (1 << grid.bits) - 1
    low, high = np.minimum(blocks.min(-1), 0), np.maximum(blocks.max(-1), 0)
    if grid.symmetric:
        scales, zeros = np.maximum(-low, high) / (top // 2), np.full(low.shape, top // 2 + 1)
    else:
        scales = (high - low) / top
    scales = scales.astype(np.float16).astype(np.float32)
    if not grid.symmetric:
        zeros = np.clip(np.rint(-low / scales), 0, top)
    codes = np.clip(np.rint(blocks / scales[..., None]) + zeros[..., None], 0, top)
    return Integers(
        grid=grid,
        codes=codes.reshape(rows, -1)[:, :width].astype(np.uint8),
        scales=scales,
        zeros=None if grid.symmetric else zeros.astype(np.uint8),
    )
