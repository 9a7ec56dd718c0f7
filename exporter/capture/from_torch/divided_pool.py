"""An average pool that divides by a given number, which both of torch's exporters drop without a word (torch 2.13).

Zeros are added as values, so that each window sees as many of them as its kernel has places, and the mean of these,
times their number, is the sum.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, cast


def translations() -> dict[Any, Callable[..., Any]]:
    """For the newer exporter, by torch's operator."""
    import torch

    return {torch.ops.aten.avg_pool2d.default: _pool(2), torch.ops.aten.avg_pool3d.default: _pool(3)}


def _pool(axes: int) -> Callable[..., Any]:
    from onnxscript import opset18 as op
    from onnxscript.function_libs.torch_lib.ops.nn import aten_avg_pool2d, aten_avg_pool3d

    usual = {2: aten_avg_pool2d, 3: aten_avg_pool3d}[axes]

    def pool(
        self: Any,
        kernel_size: Sequence[int],
        stride: Sequence[int] = (),
        padding: Sequence[int] = (0,),
        ceil_mode: bool = False,
        count_include_pad: bool = True,
        divisor_override: int | None = None,
    ) -> Any:
        if divisor_override is None:
            return usual(self, kernel_size, stride or kernel_size, padding, ceil_mode, count_include_pad)
        kernel, pads = _each(kernel_size, axes), _each(padding, axes)
        steps = _each(stride or kernel, axes)
        images = self if len(self.shape) > axes + 1 else op.Unsqueeze(self, op.Constant(value_ints=[0]))
        found = _divided(
            images, kernel, steps, pads, ceil_mode=ceil_mode, factor=_factor(self, kernel, divisor_override)
        )
        return found if images is self else op.Squeeze(found, op.Constant(value_ints=[0]))

    return pool


def _each(sizes: Sequence[int], axes: int) -> list[int]:
    return list(sizes) * axes if len(sizes) == 1 else list(sizes)


def _factor(x: Any, kernel: list[int], divisor: int) -> Any:
    import onnx_ir as ir
    from onnxscript import opset18 as op

    return op.Constant(value=ir.tensor(math.prod(kernel) / divisor, x.dtype))


def _divided(x: Any, kernel: list[int], steps: list[int], pads: list[int], *, ceil_mode: bool, factor: Any) -> Any:
    from onnxscript import opset18 as op

    axes, spatial = len(kernel), [*range(-len(kernel), 0)]
    # With a stride less one of more zeros, as many windows fit as `ceil_mode` takes.
    ends = [pad + step - 1 for pad, step in zip(pads, steps, strict=True)] if ceil_mode else pads
    where = op.Constant(value_ints=spatial)
    padded = op.Pad(x, op.Constant(value_ints=[*pads, *ends]), None, where)
    mean = op.AveragePool(padded, kernel_shape=kernel, strides=steps)
    if ceil_mode:
        # As many as begin in the input and the pads before it: ceil((size + pad) / stride).
        more = op.Constant(value_ints=[pad + step - 1 for pad, step in zip(pads, steps, strict=True)])
        windows = op.Div(op.Add(op.Shape(x, start=-axes), more), op.Constant(value_ints=steps))
        mean = op.Slice(mean, op.Constant(value_ints=[0] * axes), windows, where)
    return op.Mul(mean, factor)


def symbolics() -> dict[str, Callable[..., Any]]:
    """For the tracing exporter, by the operator's name."""
    return {"aten::avg_pool2d": _traced(2), "aten::avg_pool3d": _traced(3)}


def _traced(axes: int) -> Callable[..., Any]:
    from torch.onnx import symbolic_helper, symbolic_opset10

    helper, usual = cast("Any", symbolic_helper), cast("Any", symbolic_opset10)._avg_pool(f"avg_pool{axes}d", axes)

    def pool(g: Any, x: Any, kernel: Any, stride: Any, padding: Any, ceil: Any, counts: Any, divisor: Any) -> Any:
        if helper._is_none(divisor):
            return usual(g, x, kernel, stride, padding, ceil, counts, divisor)
        sizes = [helper._get_const(value, "is", "size") for value in (kernel, stride, padding)]
        each = _each(sizes[0], axes)
        steps, pads = _each(sizes[1] or each, axes), _each(sizes[2], axes)
        is_one = helper._get_tensor_rank(x) == axes + 1
        images = helper._unsqueeze_helper(g, x, [0]) if is_one else x
        factor = math.prod(each) / helper._get_const(divisor, "i", "divisor_override")
        ceil_mode = bool(helper._get_const(ceil, "i", "ceil_mode"))
        scale = _value(g, factor, x.type().dtype())
        found = _divided_when_traced(g, images, each, steps, pads, ceil_mode=ceil_mode, factor=scale)
        return helper._squeeze_helper(g, found, [0]) if is_one else found

    return pool


def _divided_when_traced(
    g: Any, x: Any, kernel: list[int], steps: list[int], pads: list[int], *, ceil_mode: bool, factor: Any
) -> Any:
    """As `_divided`, with the factor first.

    onnxruntime fuses a Pad without axes into the pool behind it, and refuses that where it is wider than the kernel.
    """
    axes, more = len(kernel), [pad + step - 1 for pad, step in zip(pads, steps, strict=True)]
    padded = g.op("Pad", x, _value(g, [0, 0, *pads, 0, 0, *(more if ceil_mode else pads)]))
    mean = g.op("AveragePool", g.op("Mul", padded, factor), kernel_shape_i=kernel, strides_i=steps)
    if not ceil_mode:
        return mean
    sizes = g.op("Slice", g.op("Shape", x), _value(g, [2]), _value(g, [2 + axes]))
    windows = g.op("Div", g.op("Add", sizes, _value(g, more)), _value(g, steps))
    return g.op("Slice", mean, _value(g, [0] * axes), windows, _value(g, [*range(2, 2 + axes)]))


def _value(g: Any, numbers: list[int] | float, dtype: Any = None) -> Any:
    import torch

    return g.op("Constant", value_t=torch.tensor(numbers, dtype=dtype))
