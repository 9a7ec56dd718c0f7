"""Widen bytes before they are moved, for parsers that take uint8 at a Cast alone.

TensorRT has uint8 as the type of a network's inputs and of the Cast behind them: its parser refuses a Transpose of it
("first input has type UInt8", seen with tensorrt-rtx 1.7.1). Elsewhere bytes are moved first, which is a quarter of the
memory.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import onnx_ir as ir

# What only moves values of its first input, whatever their type.
_MOVING = frozenset({"Transpose", "Reshape", "Flatten", "Squeeze", "Unsqueeze", "Slice", "Gather", "Split", "Identity"})


def cast_bytes_first(model: ir.Model) -> int:
    """Rewrite in place each input of bytes that is moved and then cast to float; returns how many there were.

    An input that anything else reads as bytes is left alone: in float it might be another result.
    """
    import onnx_ir as ir

    found = [value for value in model.graph.inputs if value.dtype == ir.DataType.UINT8]
    return sum(_rewritten(model.graph, value) for value in found)


def _rewritten(graph: ir.Graph, value: ir.Value) -> bool:
    import onnx_ir as ir

    moving, casts = _readers(value)
    if not moving or any(not _is_float(node) for node in casts):
        return False
    first = ir.node("Cast", [value], attributes={"to": ir.DataType.FLOAT}, name=f"{moving[0].name}/Cast")
    wide = first.outputs[0]
    wide.name, wide.shape, wide.type = f"{value.name}_float", value.shape, ir.TensorType(ir.DataType.FLOAT)
    for use in list(value.uses()):
        use.node.replace_input_with(use.idx, wide)
    first.replace_input_with(0, value)
    graph.insert_before(graph[0], first)
    for node in moving:
        for output in node.outputs:
            output.type = ir.TensorType(ir.DataType.FLOAT)
    for node in casts:
        given, result = node.inputs[0], node.outputs[0]
        assert given is not None
        if not result.is_graph_output():
            ir.convenience.replace_all_uses_with(result, given)
            graph.remove(node, safe=True)
    return True


def _readers(value: ir.Value) -> tuple[list[ir.Node], list[ir.Node]]:
    """Nodes that move the value, and those that cast it behind them; none where others read it."""
    moving: list[ir.Node] = []
    casts: list[ir.Node] = []
    stack = [value]
    while stack:
        for use in (current := stack.pop()).uses():
            node = use.node
            if node.op_type == "Cast" and node.domain == "":
                casts.append(node)
            elif node.op_type in _MOVING and node.domain == "" and use.idx == 0:
                moving.append(node)
                stack.extend(node.outputs)
            else:
                return [], []
        if current.is_graph_output():
            return [], []
    return moving, casts


def _is_float(cast: ir.Node) -> bool:
    import onnx_ir as ir

    return cast.attributes["to"].as_int() == ir.DataType.FLOAT
