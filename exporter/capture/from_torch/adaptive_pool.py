"""An adaptive average pool over sizes that are free, as two products with what each place counts.

torch.export writes the windows of the example's sizes into the graph, which are others at other sizes (torch 2.13).
Output i of n averages the places from floor(i * size / n) to ceil((i + 1) * size / n), as torch defines it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, cast

import numpy as np
import numpy.typing as npt

# An input's axes from here on may become a height or a width: a row of samples has no channels yet.
_BEHIND_BATCH = 1
_NO_PLACES = 2  # axes of what a pool of ONNX reads: samples and channels


def translations(dynamic: Mapping[str, Mapping[int, str]]) -> dict[Any, Callable[..., Any]]:
    """For the newer exporter, by torch's operator; of pictures none where no axis but the batch is free.

    Of volumes it has no form at all.
    """
    import torch

    volumes = {torch.ops.aten._adaptive_avg_pool3d.default: _adaptive_avg_pool3d}
    if not any(axis >= _BEHIND_BATCH for free in dynamic.values() for axis in free):
        return volumes
    return {**volumes, torch.ops.aten._adaptive_avg_pool2d.default: _adaptive_avg_pool2d}


def _adaptive_avg_pool2d(self: Any, output_size: Sequence[Any]) -> Any:
    from onnxscript import opset18 as op

    height, width = output_size
    if (kernel := _even(self.shape, output_size)) is not None:
        return op.AveragePool(self, kernel_shape=kernel, strides=kernel)
    return _in_both(self, height, width)


def _in_both(x: Any, height: Any, width: Any) -> Any:
    """(height, H) @ (..., H, W) @ (W, width)."""
    from onnxscript import opset18 as op

    return op.MatMul(op.MatMul(_shares(x, -2, height), x), op.Transpose(_shares(x, -1, width), perm=[1, 0]))


def _adaptive_avg_pool3d(self: Any, output_size: Sequence[Any]) -> Any:
    from onnxscript import opset18 as op

    depth, height, width = output_size
    if (kernel := _even(self.shape, output_size)) is not None:
        return op.AveragePool(self, kernel_shape=kernel, strides=kernel)
    # The depth takes the place of the height and goes back.
    turned = [*range(len(self.shape) - 3), *(len(self.shape) + axis for axis in (-2, -3, -1))]
    slices = op.Transpose(_in_both(self, height, width), perm=turned)
    return op.Transpose(op.MatMul(_shares(self, -3, depth), slices), perm=turned)


def _even(shape: Any, counts: Sequence[Any]) -> list[int] | None:
    """The one window of samples whose sizes are known and divided by the counts."""
    sizes = list(shape)[-len(counts) :]
    if len(shape) != len(counts) + _NO_PLACES or not all(isinstance(number, int) for number in (*sizes, *counts)):
        return None
    windows = [size // count for size, count in zip(sizes, counts, strict=True)]
    return windows if all(size % count == 0 for size, count in zip(sizes, counts, strict=True)) else None


def _shares(x: Any, axis: int, count: Any) -> Any:
    """(count, size): the share that each place has in each mean; a count of None to torch is a value here, the size."""
    from onnxscript import opset18 as op

    zero, one = (op.Constant(value_int=number) for number in (0, 1))
    wanted = op.Constant(value_int=count) if isinstance(count, int) else count
    size = op.Gather(op.Shape(x), op.Constant(value_int=axis), axis=0)
    index = op.Unsqueeze(op.Range(zero, wanted, one), op.Constant(value_ints=[1]))
    begins = op.Div(op.Mul(index, size), wanted)
    ends = op.Div(op.Add(op.Mul(op.Add(index, one), size), op.Sub(wanted, one)), wanted)
    place = op.Unsqueeze(op.Range(zero, size, one), op.Constant(value_ints=[0]))
    inside = op.And(op.GreaterOrEqual(place, begins), op.Less(place, ends))
    return op.Div(op.Cast(inside, to=x.dtype), op.Cast(op.Sub(ends, begins), to=x.dtype))


def symbolics() -> dict[str, Callable[..., Any]]:
    """For the tracing exporter, by the operator's name."""
    return {"aten::adaptive_avg_pool2d": _traced}


def _traced(g: Any, x: Any, output_size: Any) -> Any:
    """Where the windows are not of one size torch's own refuses; known sizes make constants of them."""
    import torch
    from torch.onnx import symbolic_helper, symbolic_opset9

    helper, usual = cast("Any", symbolic_helper), cast("Any", symbolic_opset9)
    wanted, sizes = helper._maybe_get_const(output_size, "is"), (helper._get_tensor_sizes(x) or [None, None])[-2:]
    known = isinstance(wanted, (list, tuple)) and all(isinstance(size, int) for size in (*sizes, *wanted))
    if not known or all(size % count == 0 for size, count in zip(sizes, wanted, strict=True)):
        return usual.adaptive_avg_pool2d(g, x, output_size)
    rows, columns = (
        g.op("Constant", value_t=torch.from_numpy(shares(size, count)))
        for size, count in zip(sizes, wanted, strict=True)
    )
    return g.op("MatMul", g.op("MatMul", rows, x), g.op("Transpose", columns, perm_i=[1, 0]))


def shares(size: int, count: int) -> npt.NDArray[np.float32]:
    """(count, size): the share that each place has in each mean."""
    index, place = np.arange(count)[:, None], np.arange(size)[None]
    begins, ends = index * size // count, -(-(index + 1) * size // count)
    return np.asarray(((place >= begins) & (place < ends)) / (ends - begins), np.float32)
