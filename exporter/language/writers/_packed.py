"""How onnxruntime wants integers to lie in memory: in whole blocks, two of 4 bits in a byte.

`MatMulNBits` and `GatherBlockQuantized` read the same bytes, the one as (rows, blocks, bytes of a block), the other as
(rows, bytes of a row): a tied table need lie on disk only once.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ....profiles.device.grid import Grid
from ..weights import Floats, Integers, Matrix

Bytes = npt.NDArray[np.uint8]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class PackedBlocks:
    """A matrix of `inputs` columns in whole blocks.

    Attributes:
        codes: of shape (rows, blocks, bytes of a block), the lower half of a byte first; what fills up the last block
            is 0, and stands for nothing.
        scales: of shape (rows, blocks).
        zeros: of shape (rows, bytes of a row's zeros), packed as codes are; None of a symmetric grid.
    """

    grid: Grid
    inputs: int
    codes: Bytes
    scales: Floats
    zeros: Bytes | None


def pack(integers: Integers) -> PackedBlocks:
    """The matrix as onnxruntime's kernels read it."""
    rows, columns = integers.codes.shape
    blocks, block, bits = integers.scales.shape[1], integers.block, integers.grid.bits
    codes = _filled(integers.codes, blocks * block).reshape(rows, blocks, block)
    return PackedBlocks(
        grid=integers.grid,
        inputs=columns,
        codes=_joined(codes, bits),
        scales=np.ascontiguousarray(integers.scales, dtype=np.float32),
        zeros=None if integers.zeros is None else _joined(integers.zeros, bits),
    )


def stacked(matrices: Sequence[Matrix]) -> Matrix | None:
    """Matrices that take the same inputs as one of all their rows; None where they do not share a grid."""
    integers = [each for each in matrices if isinstance(each, Integers)]
    if not integers:
        return np.concatenate([each for each in matrices if not isinstance(each, Integers)])
    zeros = [each.zeros for each in integers if each.zeros is not None]
    if len(integers) < len(matrices) or len({each.grid for each in integers}) > 1 or len(zeros) % len(integers):
        return None
    return Integers(
        grid=integers[0].grid,
        codes=np.concatenate([each.codes for each in integers]),
        scales=np.concatenate([each.scales for each in integers]),
        zeros=np.concatenate(zeros) if zeros else None,
    )


def packed_bytes(rows: int, columns: int, grid: Grid | None, *, scale: int = 1) -> int:
    """Bytes of a matrix: its codes in whole blocks, scales, a factor of them a row, and zeros where the grid has them.

    Args:
        scale: bytes of a scale.
    """
    if grid is None:
        return 4 * rows * columns
    block = grid.block or columns
    blocks = -(-columns // block)
    zeros = 0 if grid.symmetric else -(-blocks * grid.bits // 8)
    return rows * (blocks * (block * grid.bits // 8 + scale) + 4 + zeros)


def _joined(codes: Bytes, bits: int) -> Bytes:
    """Neighbours along the last axis in one byte."""
    if bits == 8:
        return np.ascontiguousarray(codes)
    even = _filled(codes, codes.shape[-1] + codes.shape[-1] % 2)
    return np.ascontiguousarray(even[..., 0::2] | (even[..., 1::2] << 4))


def _filled(array: Bytes, length: int) -> Bytes:
    """Zeros behind the last axis, up to a length."""
    missing = length - array.shape[-1]
    return np.pad(array, [(0, 0)] * (array.ndim - 1) + [(0, missing)]) if missing else array
