"""Weights one tensor at a time, in float32 or in integers; nothing here holds a whole model."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt

from ...profiles.device.grid import Grid
from .decoder import Linear, Tensor

Floats = npt.NDArray[np.float32]


class TensorSource(Protocol):
    """Where tensors come from; each call reads anew, so that a tensor lives no longer than its reader needs it."""

    def array(self, tensor: Tensor) -> Floats:
        """The tensor in float32, C-contiguous, the caller's own.

        Raises:
            InputError: it is not in the checkpoint.
        """


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Integers:
    """A matrix in integers, in blocks along its rows: value = (code - zero) * scale.

    Attributes:
        grid: bits, block and so on; `grid.block` of a matrix with one scale a row is its whole width.
        codes: of shape (outputs, inputs), uint8, from 0 on. A signed grid of n bits stores code - 2**(n-1), as the
            runtimes do that have unsigned storage alone.
        scales: of shape (outputs, blocks), float32; the last block may be shorter. May be negative.
        zeros: of shape (outputs, blocks), uint8; None where every zero is 2**(bits-1), of a symmetric grid.
    """

    grid: Grid
    codes: npt.NDArray[np.uint8]
    scales: Floats
    zeros: npt.NDArray[np.uint8] | None

    @property
    def block(self) -> int:
        """How many neighbours of a row share a scale."""
        return self.grid.block or self.codes.shape[1]

    def floats(self) -> Floats:
        """What the integers stand for, of shape (outputs, inputs)."""
        rows, columns = self.codes.shape
        codes = self.codes if columns % self.block == 0 else np.pad(self.codes, [(0, 0), (0, -columns % self.block)])
        values = codes.reshape(rows, -1, self.block).astype(np.float32)
        values -= np.float32(1 << (self.grid.bits - 1)) if self.zeros is None else self.zeros[..., None]
        values *= self.scales[..., None]
        return values.reshape(rows, -1)[:, :columns]


Matrix = Floats | Integers


class DecoderWeights(Protocol):
    """What a decoder is written with: a checkpoint, or one whose matrices were rounded and scaled."""

    def array(self, tensor: Tensor) -> Floats:
        """A norm's weight, a bias or a table of positions."""

    def matrix(self, linear: Linear) -> Matrix:
        """The weight of a linear layer, of shape (outputs, inputs)."""

    def table(self) -> Matrix:
        """The embedding, of shape (vocabulary, width); that of a tied model is its head's very matrix."""
