"""Integers as they wait for a writer: two of 4 bits in a byte."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ...profiles.device.grid import Grid
from .weights import Floats, Integers

Bytes = npt.NDArray[np.uint8]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class HalfBytes:
    """`Integers` in as many bytes as their bits ask for; `shape` is that of the codes."""

    grid: Grid
    shape: tuple[int, int]
    codes: Bytes
    scales: Floats
    zeros: Bytes | None

    @classmethod
    def of(cls, integers: Integers) -> HalfBytes:
        """Pack them."""
        codes: Bytes = integers.codes.reshape(-1)
        if integers.grid.bits == 4:
            codes = np.concatenate((codes, np.zeros(1, np.uint8))) if codes.size % 2 else codes
            codes = np.bitwise_or(codes[::2], codes[1::2] << 4, dtype=np.uint8)
        shape = (integers.codes.shape[0], integers.codes.shape[1])
        return cls(grid=integers.grid, shape=shape, codes=codes, scales=integers.scales, zeros=integers.zeros)

    def integers(self) -> Integers:
        """What was packed; the codes are the caller's own."""
        codes = self.codes
        if self.grid.bits == 4:
            codes = np.stack((codes & 15, codes >> 4), axis=-1).reshape(-1)[: self.shape[0] * self.shape[1]]
        else:
            codes = codes.copy()
        return Integers(grid=self.grid, codes=codes.reshape(self.shape), scales=self.scales, zeros=self.zeros)
