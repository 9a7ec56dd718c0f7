"""Integers as OpenVINO stores them: two of 4 bits in a byte, the first in the lower half."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ....errors import InputError
from ..weights import Integers

Bytes = npt.NDArray[np.uint8]
# Scales are stored in 16 bits, as every exporter of compressed weights to OpenVINO does; its kernels expect no other.
SCALES = np.float16


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class PackedConstants:
    """Blocks of one matrix, all of one length.

    Attributes:
        kind: of the codes: `i4` and `i8` where zero is 0, `u4` and `u8` where zeros are stored.
        shape: of the codes: (outputs, inputs) with one scale a row, else (outputs, blocks, block).
        codes: bytes of the codes.
        scales: of shape (outputs, 1) or (outputs, blocks, 1).
        zeros: bytes of the zeros, as many as scales; None where there are none.
    """

    kind: str
    shape: tuple[int, ...]
    codes: Bytes
    scales: npt.NDArray[np.float16]
    zeros: Bytes | None

    @property
    def columns(self) -> int:
        """How many inputs it takes."""
        return int(np.prod(self.shape[1:]))


def pack(name: str, matrix: Integers) -> tuple[PackedConstants, ...]:
    """The whole blocks of a matrix, and what is left of each row where they do not fill it, side by side.

    Raises:
        InputError: a scale is not among numbers of 16 bits, or rows of 4 bits end within a byte.
    """
    inputs, block = matrix.codes.shape[1], matrix.block
    if matrix.grid.bits == 4 and inputs % 2:
        # OpenVINO 2026.4.1 computes such a row wrongly where it is given several tokens, and says nothing.
        raise InputError(f"{name} has {inputs} inputs; OpenVINO takes an even number of them in 4 bits.")
    whole = inputs // block * block
    parts = []
    if whole:
        parts.append(_packed(name, matrix, slice(0, whole), slice(0, whole // block)))
    if whole < inputs:
        parts.append(_packed(name, matrix, slice(whole, inputs), slice(whole // block, whole // block + 1)))
    return tuple(parts)


def nibbles(codes: Bytes) -> Bytes:
    """Codes of 4 bits, two a byte; an odd last one is alone in its byte."""
    flat = codes.reshape(-1)
    packed: Bytes = np.bitwise_and(flat[0::2], np.uint8(15), dtype=np.uint8)
    packed[: len(flat) // 2] |= np.left_shift(flat[1::2], np.uint8(4), dtype=np.uint8)
    return packed


def _packed(name: str, matrix: Integers, columns: slice, blocks: slice) -> PackedConstants:
    scales = _rounded(name, matrix.scales[:, blocks])
    rows, count = scales.shape
    width = columns.stop - columns.start
    shape = (rows, width) if count == 1 else (rows, count, width // count)
    zeros = None if matrix.zeros is None else matrix.zeros[:, blocks]
    codes, bits = matrix.codes[:, columns], matrix.grid.bits
    if zeros is None:
        codes = codes ^ np.uint8(1 << (bits - 1))  # from code - 2^(bits-1) to two's complement
    return PackedConstants(
        kind=f"{'i' if zeros is None else 'u'}{bits}",
        shape=shape,
        codes=_stored(codes, bits),
        scales=scales.reshape(*shape[:-1], 1),
        zeros=None if zeros is None else _stored(zeros, bits),
    )


def _stored(codes: Bytes, bits: int) -> Bytes:
    return nibbles(codes) if bits == 4 else np.ascontiguousarray(codes).reshape(-1)


def _rounded(name: str, scales: npt.NDArray[np.float32]) -> npt.NDArray[np.float16]:
    with np.errstate(over="ignore"):
        rounded = scales.astype(SCALES)
    if not np.isfinite(rounded).all():
        raise InputError(
            f"{name} has a scale of {np.abs(scales).max():.3g}; OpenVINO stores scales in 16 bits, up to 65504."
        )
    return rounded
