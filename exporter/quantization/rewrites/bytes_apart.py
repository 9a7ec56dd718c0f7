"""Keep the conversion of bytes to float apart from what OpenVINO takes for a dequantization.

In a graph with Q/DQ, OpenVINO 2026.4.1 reads bytes that are converted to float, shifted and scaled as integers with a
zero point and a scale, and moves both behind the addition that follows: `s + (m - 1) * 1e9`, a mask of booleans added
to scores, becomes `(s / 1e9 + m - 1) * 1e9`, in which `s` is lost (docs/decisions/0111-masks-of-booleans.md). It has no
dequantization of integers of 32 bits.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ...graphs.values import constant

if TYPE_CHECKING:
    import onnx_ir as ir

# What a dequantization is moved through, or made of with a constant.
_MOVING = frozenset(
    {*("Cast", "Concat", "Expand", "Flatten", "Gather", "Identity", "Reshape")}
    | {*("Slice", "Squeeze", "Tile", "Transpose", "Unsqueeze")}
)
_SCALING = frozenset({"Add", "Sub", "Mul", "Div", "Neg"})


def bytes_apart(graph: ir.Graph) -> int:
    """Rewrite in place each Cast of booleans or bytes to float behind which something computed is added.

    Returns how many there were. A Cast to int32 stands before each, which holds all of their values.
    """
    found = [node for node in graph if _widened(node) and _added(node.outputs[0])]
    for node in found:
        _rewrite(graph, node)
    return len(found)


def _widened(node: ir.Node) -> bool:
    """Whether it makes floats of booleans or bytes."""
    import onnx_ir as ir

    if node.op_type != "Cast" or node.domain != "" or node.attributes["to"].as_int() != ir.DataType.FLOAT:
        return False
    value = node.inputs[0]
    return value is not None and value.dtype in (ir.DataType.BOOL, ir.DataType.UINT8, ir.DataType.INT8)


def _added(value: ir.Value) -> bool:
    """Whether a sum with another computed value is reached through moves, and through arithmetic with constants."""
    todo, seen = [use.node for use in value.uses()], set()
    while todo:
        node = todo.pop()
        if node in seen or node.domain != "":
            continue
        seen.add(node)
        computed = [given for given in node.inputs if given is not None and constant(given) is None]
        if node.op_type in ("Add", "Sub") and len(computed) > 1:
            return True
        if node.op_type in _MOVING or (node.op_type in _SCALING and len(computed) == 1):
            todo.extend(use.node for use in node.outputs[0].uses())
    return False


def _rewrite(graph: ir.Graph, node: ir.Node) -> None:
    import onnx_ir as ir

    value, result = node.inputs[0], node.outputs[0]
    assert value is not None
    wide = ir.node("Cast", [value], attributes={"to": ir.DataType.INT32}, name=f"{node.name}/wide")
    made = wide.outputs[0]
    made.name, made.shape, made.type = f"{result.name}_wide", value.shape, ir.TensorType(ir.DataType.INT32)
    node.replace_input_with(0, made)
    graph.insert_before(node, wide)
