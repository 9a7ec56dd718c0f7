"""Turn every Fourier transform onto axis 1, by a Transpose before and behind it.

OpenVINO 2026.4.1 does not read the axis of a DFT of opset 20, which is an input there and was an attribute before: it
takes axis 1, the attribute's default (an FNet: -0.1 dB of SQNR).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from ...graphs.values import add_constant, constant, number, replace

if TYPE_CHECKING:
    import onnx_ir as ir

# Since then the axis is an input; without one it is the last of the signal's.
_INPUT_SINCE, _DEFAULT = 20, -2


def dft_on_axis_one(model: ir.Model) -> int:
    """Rewrite in place every DFT over another axis of a value of known rank; returns how many there were."""
    if model.opset_imports[""] < _INPUT_SINCE:
        return 0
    transforms = [node for node in model.graph if node.domain == "" and node.op_type == "DFT"]
    found = [node for node in transforms if signal_axis(node, _INPUT_SINCE) not in (None, 1)]
    for node in found:
        _rewrite(model.graph, node)
    return len(found)


def signal_axis(node: ir.Node, opset: int) -> int | None:
    """The axis counted from the first; None where that is not known."""
    value = node.inputs[0]
    given = node.inputs[2] if len(node.inputs) > 2 else None
    if opset < _INPUT_SINCE:
        axis: Any = np.array(int(number(node, "axis", 1)))
    else:
        axis = np.array(_DEFAULT) if given is None else constant(given)
    if value is None or value.shape is None or axis is None:
        return None
    return int(axis.item()) % value.shape.rank()


def _rewrite(graph: ir.Graph, node: ir.Node) -> None:
    import onnx_ir as ir

    value, axis, result = node.inputs[0], signal_axis(node, _INPUT_SINCE), node.outputs[0]
    assert value is not None and value.shape is not None and axis is not None
    order = list(range(value.shape.rank()))
    order[1], order[axis] = axis, 1
    before = ir.node("Transpose", [value], {"perm": order}, name=f"{node.name}/Transpose")
    before.outputs[0].name = f"{result.name}_turned"
    inputs = [before.outputs[0], node.inputs[1] if len(node.inputs) > 1 else None]
    inputs.append(add_constant(graph, f"{result.name}_axis", np.array(1)))
    dft = ir.node("DFT", inputs, node.attributes, name=node.name)
    dft.outputs[0].name = f"{result.name}_along_1"
    back = ir.node("Transpose", [dft.outputs[0]], {"perm": order}, name=f"{node.name}/Transpose_2")
    replace(graph, node, [before, dft, back])
