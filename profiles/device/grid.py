"""A grid of integers: how numbers are rounded.

A real value x is stored as q = clamp(round(x / scale) + zero_point), as ONNX QuantizeLinear defines it; the grid says
which integers q may be, and how many values share a scale.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

from pydantic import ConfigDict

# From this opset on ONNX has integers of 4 and of 16 bits, and scales by block; before it, those of 8 bits only, with
# one scale a channel from opset 13 on.
OPSET_OF_BLOCKS, OPSET_OF_CHANNELS = 21, 13


@dataclass(frozen=True, slots=True, kw_only=True)
class Grid:
    """The integers of a quantized tensor.

    Attributes:
        bits: of each integer.
        signed: whether they go below 0.
        symmetric: the zero point is 0, and the smallest integer is left out, so that -x is on the grid with every x.
            With it two products of s8 could exceed what VPMADDUBSW-style kernels accumulate, and TensorRT as well as
            onnxruntime expect weights without it.
        granularity: what shares a scale: the whole tensor, a channel, or `block` neighbours along the input channels.
        block: how many, where the granularity is `block`.
        used: bits of each integer that are used, where kernels that add in few bits bear no more; None is all of them.
        whole: the smallest integer of a symmetric grid is used, too: of weights that kernels turn into floats.
    """

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="forbid")

    bits: Literal[4, 8, 16]
    signed: bool
    symmetric: bool
    granularity: Literal["tensor", "channel", "block"] = "tensor"
    block: int | None = None
    used: int | None = None
    whole: bool = False

    def __post_init__(self) -> None:
        """Refuse what is no grid.

        Raises:
            ValueError: an unsigned grid without a zero point, a block without a size or the reverse, or more or fewer
                bits used than integers have.
        """
        if self.symmetric and not self.signed:
            raise ValueError("a symmetric grid is signed")
        if (self.granularity == "block") != (self.block is not None):
            raise ValueError("`block` is given where the granularity is `block`, and only there")
        if self.block is not None and self.block < 1:
            raise ValueError(f"`block` is {self.block}; expected 1 or more")
        if self.used is not None and not 2 <= self.used <= self.bits:
            raise ValueError(f"`used` is {self.used}; expected 2 to {self.bits}, the bits of each integer")

    @property
    def dtype(self) -> str:
        """The integer type, as ONNX and numpy call it: `int8`, `uint4` ..."""
        return f"{'' if self.signed else 'u'}int{self.bits}"

    @property
    def depth(self) -> int:
        """How many bits of each integer are used."""
        return self.bits if self.used is None else self.used

    @property
    def smallest(self) -> int:
        """The smallest integer."""
        if not self.signed:
            return 0
        return int(self.symmetric and not self.whole) - (1 << (self.depth - 1))

    @property
    def largest(self) -> int:
        """The largest integer."""
        return (1 << (self.depth - self.signed)) - 1

    @property
    def steps(self) -> int:
        """How many steps of one scale lie between the smallest and the largest."""
        return self.largest - self.smallest

    @property
    def opset(self) -> int:
        """The lowest ONNX opset whose QuantizeLinear writes it."""
        return OPSET_OF_CHANNELS if self.bits == 8 and self.block is None else OPSET_OF_BLOCKS

    def __str__(self) -> str:
        """As a person says it: `int4 in blocks of 32`."""
        shared = {"tensor": "per tensor", "channel": "per channel", "block": f"in blocks of {self.block}"}
        part = "" if self.used is None else f" in {self.used} bits"
        return f"{self.dtype}{part} {shared[self.granularity]}"
