"""An AveragePool's dilations, which onnxruntime's integers do not know, not even where a file spells out that of one.

Onnxruntime 1.31.1 hands the attribute (new in opset 19) to its QLinearAveragePool, which has none, and then does not
open the graph. A mean over places that are apart is a convolution of each channel with equal weights.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from ...graphs.values import add_constant, everywhere, integers, number, owner, replace

if TYPE_CHECKING:
    import onnx_ir as ir


def dilated_pool(model: ir.Model) -> int:
    """Rewrite in place every AveragePool with dilations, but where pads are not counted; returns how many."""
    found = [node for node in everywhere(model, "AveragePool") if "dilations" in node.attributes]
    for node in found:
        if set(integers(node, "dilations", [])) == {1}:
            del node.attributes["dilations"]
        elif (channels := _channels(node)) and not _counts_less(node):
            replace(owner(node), node, [_convolution(node, channels)])
    return len(found)


def _channels(node: ir.Node) -> int:
    """How many there are, 0 where that is not known."""
    value = node.inputs[0]
    size = None if value is None or value.shape is None else value.shape[1]
    return size if isinstance(size, int) else 0


def _counts_less(node: ir.Node) -> bool:
    """Whether a window at the edge may be divided by less than its size."""
    automatic = node.attributes.get("auto_pad")
    if number(node, "ceil_mode", 0) or (automatic is not None and automatic.value not in ("NOTSET", "VALID")):
        return True
    return any(integers(node, "pads", [])) and not number(node, "count_include_pad", 0)


def _convolution(node: ir.Node, channels: int) -> ir.Node:
    import onnx_ir as ir

    kernel = integers(node, "kernel_shape", [])
    weight = np.full((channels, 1, *kernel), 1 / np.prod(kernel), np.float32)
    kept = [node.attributes[name] for name in ("dilations", "pads", "strides", "auto_pad") if name in node.attributes]
    equal = add_constant(owner(node), f"{node.name}_equal", weight)
    made = ir.node("Conv", [node.inputs[0], equal], {"group": channels}, name=node.name)
    for attribute in kept:
        made.attributes.add(attribute)
    return made
