"""What a layer multiplies its weight by, as rows of a matrix: of a convolution, the patches under its kernel."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch.nn import functional

from ...backends.base import Array
from ..graphs.values import constant, integers, number
from .analysis.weight_site import WeightSite

if TYPE_CHECKING:
    import onnx_ir as ir

# Rows of a batch by which a layer is rounded, at most, spread evenly over it.
MOST_ROWS = 1 << 14


def rows_read(site: WeightSite, array: Array) -> torch.Tensor:
    """Of shape (groups, rows, columns), columns as `columns_of_weight` says."""
    values = torch.from_numpy(np.ascontiguousarray(array, dtype=np.float32))
    return _patches(site, values) if site.node.op_type == "Conv" else _spread(values.flatten(0, -2))[None]


def columns_of_weight(site: WeightSite) -> torch.Tensor:
    """Which column of `rows_read` belongs to each column of the weight as a matrix.

    A convolution's weight has the taps of a channel side by side, and a patch the channels of a tap: so they lie in
    memory, and are copied many times as fast.
    """
    weight = constant(site.node.inputs[site.weight])
    assert weight is not None
    if site.node.op_type != "Conv":
        return torch.arange(weight.shape[site.inner])
    taps = math.prod(weight.shape[2:])
    return torch.arange(taps * weight.shape[1]).reshape(taps, -1).T.flatten()


def _patches(site: WeightSite, values: torch.Tensor) -> torch.Tensor:
    """Of values of shape (batch, channels, length) or (batch, channels, height, width)."""
    kernel, strides, dilations, (top, left, bottom, right) = _window(site.node, site.weight)
    plane = values if values.dim() == 4 else values[:, :, None]
    padded = functional.pad(plane, (left, right, top, bottom)).permute(0, 2, 3, 1).contiguous()
    batch, height, width, channels = padded.shape
    down, across = (
        torch.arange((size - dilation * (taps - 1) - 1) // stride + 1) * stride
        for size, taps, stride, dilation in zip((height, width), kernel, strides, dilations, strict=True)
    )
    corners = _places(torch.arange(batch) * height, down)
    chosen = _spread(_places(corners * width, across))
    taps = _places(torch.arange(kernel[0]) * dilations[0] * width, torch.arange(kernel[1]) * dilations[1])
    patches = padded.view(-1, channels).index_select(0, _places(chosen, taps))
    groups = int(number(site.node, "group", 1))
    of_group = patches.view(len(chosen), len(taps), groups, channels // groups).permute(2, 0, 1, 3)
    return of_group.reshape(groups, len(chosen), -1)


def _window(node: ir.Node, weight: int) -> tuple[tuple[int, ...], ...]:
    """Kernel, strides, dilations and pads (top, left, bottom, right) over two axes."""
    array = constant(node.inputs[weight])
    assert array is not None
    kernel, axes = array.shape[2:], array.ndim - 2
    strides, dilations = (integers(node, name, [1] * axes) for name in ("strides", "dilations"))
    pads = integers(node, "pads", [0] * (2 * axes))
    if axes == 2:
        return tuple(kernel), tuple(strides), tuple(dilations), tuple(pads)
    return (1, *kernel), (1, *strides), (1, *dilations), (0, pads[0], 0, pads[1])


def _places(starts: torch.Tensor, steps: torch.Tensor) -> torch.Tensor:
    """Every sum of one of each, those of the first start first."""
    return (starts[:, None] + steps).flatten()


def _spread(rows: torch.Tensor) -> torch.Tensor:
    """At most MOST_ROWS of them."""
    return rows[:: max(1, math.ceil(len(rows) / MOST_ROWS))]
