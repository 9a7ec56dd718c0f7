"""Give a pool whose kernel is larger than what it sees a kernel of that size.

With `ceil_mode` torch and ONNX let the one window there is reach beyond the border and count what it saw (an
EfficientNet's last pool is as large as it has channels). OpenVINO and TensorRT refuse such a kernel.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ...graphs.values import everywhere, integers, number

if TYPE_CHECKING:
    import onnx_ir as ir

_POOLS = frozenset({"AveragePool", "MaxPool"})
# The axes of an image before its height.
_BATCH_AND_CHANNELS = 2


def fit_pools(model: ir.Model) -> int:
    """Rewrite in place every such pool without pads over known sizes; returns how many."""
    return sum(_fit(node) for node in everywhere(model, *_POOLS))


def _fit(node: ir.Node) -> bool:
    import onnx_ir as ir

    kernel, sizes = list(node.attributes["kernel_shape"].as_ints()), _sizes(node)
    strides = integers(node, "strides", [1] * len(kernel))
    if sizes is None or not number(node, "ceil_mode", 0) or _moved(node):
        return False
    # Where no window but the first begins inside, its result has one element along that axis whatever the stride.
    beyond = [k > size > k - stride for k, size, stride in zip(kernel, sizes, strides, strict=True)]
    if not any(beyond):
        return False
    fitting = [size if larger else k for k, size, larger in zip(kernel, sizes, beyond, strict=True)]
    steps = [size if larger else stride for stride, size, larger in zip(strides, sizes, beyond, strict=True)]
    node.attributes.add(ir.AttrInt64s("kernel_shape", fitting))
    node.attributes.add(ir.AttrInt64s("strides", steps))
    return True


def _sizes(node: ir.Node) -> list[int] | None:
    """Of the axes that are pooled; None where one is free or unknown."""
    shape = None if node.inputs[0] is None else node.inputs[0].shape
    sizes = [] if shape is None else [size for size in shape[_BATCH_AND_CHANNELS:] if isinstance(size, int)]
    return sizes if sizes and len(sizes) == len(node.attributes["kernel_shape"].as_ints()) else None


def _moved(node: ir.Node) -> bool:
    """Whether pads or dilations make the window another one."""
    automatic = node.attributes.get("auto_pad")
    if automatic is not None and automatic.value != "NOTSET":
        return True
    return any(integers(node, "pads", [])) or any(step != 1 for step in integers(node, "dilations", []))
