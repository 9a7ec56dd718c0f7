"""A running product along an axis of known size: as many products as its size has bits; ONNX has none.

After step k each place has the product of the last 2^k (Hillis and Steele, Data parallel algorithms, 1986).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ....errors import InputError


def translations() -> dict[Any, Callable[..., Any]]:
    """For the newer exporter, by torch's operator."""
    import torch

    return {torch.ops.aten.cumprod.default: _cumprod}


def _cumprod(self: Any, dim: int, dtype: int | None = None) -> Any:
    from onnxscript import opset18 as op

    x = self if dtype is None else op.Cast(self, to=dtype)
    if not len(self.shape):
        return op.Identity(x)
    size = self.shape[dim]
    if not isinstance(size, int):
        raise InputError(
            "cumprod runs along an axis whose size is free, and ONNX has no running product.",
            hint="Give that axis a fixed size, or use exp(cumsum(log(x))) in forward where x is positive.",
        )
    axis, step = op.Constant(value_ints=[dim]), 1
    while step < size:
        before = op.Slice(x, op.Constant(value_ints=[0]), op.Constant(value_ints=[size - step]), axis)
        behind = op.Slice(x, op.Constant(value_ints=[0]), op.Constant(value_ints=[step]), axis)
        rest = op.Slice(x, op.Constant(value_ints=[step]), op.Constant(value_ints=[size]), axis)
        x = op.Concat(behind, op.Mul(rest, before), axis=dim)
        step *= 2
    return x
