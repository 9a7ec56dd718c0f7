"""Keep a Pad of zeros before a pool apart from it.

onnxruntime 1.31.1 makes such a Pad the MaxPool's own pads, which are no zeros but less than every value: wherever a
window at the border holds nothing positive, the result is another (a BiT's logits: 36 dB of SQNR, 112 with `Pad_Fusion`
off). Of an AveragePool it makes counted pads, which its integers divide wrongly where `ceil_mode` reaches beyond them.
It leaves a Pad alone that names its axes, which ONNX has from opset 18 on.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from ...graphs.values import add_constant, constant, everywhere, number, owner, single_consumer

if TYPE_CHECKING:
    import onnx_ir as ir

_AXES_SINCE = 18


def pad_apart(model: ir.Model) -> int:
    """Name in place the axes of every Pad that only such a pool reads; returns how many there were."""
    if model.opset_imports[""] < _AXES_SINCE:
        return 0
    found = [node for node in everywhere(model, "Pad") if _fuses(node)]
    for node in found:
        _name_axes(owner(node), node)
    return len(found)


def _fuses(node: ir.Node) -> bool:
    """Whether it would become the pads of a pool, which are others; behind a Relu those of a MaxPool are the same."""
    reader, value = single_consumer(node.outputs[0]), node.inputs[0]
    if reader is None or len(node.inputs) > 3 or constant(node.inputs[1]) is None:
        return False
    if reader.op_type != "MaxPool":
        return reader.op_type == "AveragePool" and bool(number(reader, "ceil_mode", 0))
    maker = None if value is None else value.producer()
    return maker is None or maker.op_type != "Relu"


def _name_axes(graph: ir.Graph, node: ir.Node) -> None:
    sizes = constant(node.inputs[1])
    assert sizes is not None
    axes = add_constant(graph, f"{node.outputs[0].name}_axes", np.arange(sizes.size // 2))
    node.resize_inputs(4)
    node.replace_input_with(3, axes)
