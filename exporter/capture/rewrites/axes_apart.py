"""Add the axes that a constant alone brings behind the arithmetic with it, as an Unsqueeze.

A bias of shape (1, 1, C, 1, 1) makes five axes of four. OpenVINO 2026.4.1 fuses an InstanceNormalization, such a sum
and the quantization behind them along another axis than the constant's, and then does not open the int8 engine.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from ...graphs.values import add_constant, constant, everywhere, owner, replace

if TYPE_CHECKING:
    import onnx_ir as ir

_BROADCASTS = ("Add", "Sub", "Mul", "Div")


def axes_apart(model: ir.Model) -> int:
    """Rewrite in place such arithmetic, in bodies as well; returns how many there were."""
    found = [(node, index) for node in everywhere(model, *_BROADCASTS) for index in (0, 1) if _added(node, index)]
    for node, index in found:
        replace(owner(node), node, _nodes(node, index))
    return len(found)


def _added(node: ir.Node, index: int) -> int:
    """How many axes of one place the constant at this index has before those of the other operand; 0 of others."""
    array, other = constant(node.inputs[index]), node.inputs[1 - index]
    if array is None or other is None or other.shape is None or constant(other) is not None:
        return 0
    more = array.ndim - other.shape.rank()
    return more if more > 0 and set(array.shape[:more]) == {1} else 0


def _nodes(node: ir.Node, index: int) -> list[ir.Node]:
    """What takes its place, the last one with its result."""
    import onnx_ir as ir

    array, more, graph = constant(node.inputs[index]), _added(node, index), owner(node)
    assert array is not None
    inputs = list(node.inputs)
    inputs[index] = add_constant(graph, f"{node.name}_of_fewer_axes", array.reshape(array.shape[more:]))
    axes = add_constant(graph, f"{node.name}_axes", np.arange(more))
    computed, result = ir.node(node.op_type, inputs, name=node.name), node.outputs[0]
    computed.outputs[0].type = result.type
    computed.outputs[0].shape = None if result.shape is None else ir.Shape(result.shape[more:])
    return [computed, ir.node("Unsqueeze", [computed.outputs[0], axes], name=f"{node.name}_axes")]
