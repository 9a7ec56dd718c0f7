"""A scatter that takes the mean, as the sum over how many there are: ONNX's ScatterElements has no mean.

torchlib writes the last of them instead (onnxscript 0.7), without a word. It gives all values as well where torch takes
as many as there are places.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any


def translations() -> dict[Any, Callable[..., Any]]:
    """For the newer exporter, by torch's operator."""
    import torch

    return {torch.ops.aten.scatter_reduce.two: _scatter_reduce}


def _scatter_reduce(self: Any, dim: int, index: Any, src: Any, reduce: str, include_self: bool = True) -> Any:
    from onnxscript import opset18 as op
    from onnxscript.function_libs.torch_lib.ops import core

    dtype = src.dtype
    if list(index.shape) != list(src.shape) and len(index.shape):
        src = op.Slice(src, op.Constant(value_ints=[0] * len(index.shape)), op.Shape(index))
    # Of integers torch rounds the mean down, and a scalar has no axis: the proof tells of those.
    if reduce != "mean" or not dtype.is_floating_point() or not len(self.shape):
        return core.aten_scatter_reduce(self, dim, index, src, reduce, include_self)
    return _mean(self, dim, index, src, include_self)


def _mean(self: Any, dim: int, index: Any, src: Any, include_self: bool) -> Any:
    from onnxscript import opset18 as op

    one = op.CastLike(op.Constant(value_float=1.0), src)
    ones = op.Expand(one, op.Shape(index))
    if not include_self:  # what is written to counts from 0, the rest stays
        self = op.ScatterElements(self, index, op.Sub(ones, ones), axis=dim, reduction="none")
    already = one if include_self else op.Sub(one, one)
    counts = op.ScatterElements(op.Expand(already, op.Shape(self)), index, ones, axis=dim, reduction="add")
    total = op.ScatterElements(self, index, src, axis=dim, reduction="add")
    return op.Div(total, op.Max(counts, one))
