"""QuantizeLinear and DequantizeLinear as torch computes them, with gradients that go straight through the rounding.

Bengio et al. 2013: rounding has the derivative 1, and what is clamped has 0. A scale that is a parameter then has the
gradient of Esser et al. 2020 ("Learned Step Size Quantization", equation 3) by the chain rule alone.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor


class _Round(torch.autograd.Function):
    """Rounds half to even, as ONNX does, to the last bit; x + (round(x) - x) would not."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        return x.round()

    @staticmethod
    def backward(ctx: Any, *gradients: Any) -> Any:
        return gradients[0]


def quantize(x: Tensor, scale: Tensor, zero: Tensor | None, axis: int, block: int, limits: tuple[int, int]) -> Tensor:
    """Whole floats within the limits of the integer type."""
    rounded: Tensor = _Round.apply(x / _along(scale, x, axis, block))  # type: ignore[no-untyped-call]
    return (rounded if zero is None else rounded + _along(zero, x, axis, block)).clamp(*limits)


def dequantize(codes: Tensor, scale: Tensor, zero: Tensor | None, axis: int, block: int) -> Tensor:
    """What whole numbers stand for, in float32."""
    wide = _along(scale, codes, axis, block)
    return (codes if zero is None else codes - _along(zero, codes, axis, block)).to(scale.dtype) * wide


def _along(part: Tensor, x: Tensor, axis: int, block: int) -> Tensor:
    """A scale or a zero point in a shape that broadcasts to that of the values."""
    part = part.to(torch.float32)
    if part.numel() == 1:
        return part.reshape(())
    if block:
        return part.repeat_interleave(block, axis).narrow(axis, 0, x.shape[axis])
    return part.reshape([-1 if each == axis % x.ndim else 1 for each in range(x.ndim)])
