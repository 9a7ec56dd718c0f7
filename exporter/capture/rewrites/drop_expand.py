"""Leave out an Expand where the arithmetic that reads it repeats its operand anyway.

torch writes `normalize` as a division by a norm that is expanded to the size of what it divides. The sizes to expand to
are computed from the input's, of which OpenVINO 2026.4.1 makes a second reader of the first convolution's result, and
loses the bias of that convolution where it is int8 (docs/decisions/0043-constants-a-channel.md).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import onnx_ir as ir

# What repeats the smaller of two operands by itself.
_BROADCASTS = frozenset({"Add", "Sub", "Mul", "Div"})


def drop_expand(model: ir.Model) -> int:
    """Read in place what every such Expand reads, and remove it; returns how many there were."""
    expands = [node for node in model.graph if node.domain == "" and node.op_type == "Expand"]
    return sum(_drop(model.graph, node) for node in expands)


def _drop(graph: ir.Graph, node: ir.Node) -> bool:
    """One at a time: of two that are read together the other one is needed then."""
    value = node.inputs[0]
    if value is None or not _needless(node):
        return False
    node.outputs[0].replace_all_uses_with(value)
    graph.remove(node, safe=True)
    return True


def _needless(node: ir.Node) -> bool:
    """Whether all readers are arithmetic whose other operand has the expanded shape."""
    result, value = node.outputs[0], node.inputs[0]
    if value is None or value.shape is None or result.shape is None or result.is_graph_output():
        return False
    if value.shape.rank() > result.shape.rank() or not _known(result.shape):
        return False
    uses = list(result.uses())
    return bool(uses) and all(_repeats(use.node, use.idx, result.shape) for use in uses)


def _repeats(reader: ir.Node, index: int, shape: ir.Shape) -> bool:
    if reader.domain != "" or reader.op_type not in _BROADCASTS:
        return False
    other = reader.inputs[1 - index]
    return other is not None and other.shape is not None and other.shape == shape and other is not reader.inputs[index]


def _known(shape: ir.Shape) -> bool:
    """Whether every size is a number or has a name, which is the same size wherever it stands."""
    return all(isinstance(size, int) or size.value is not None for size in shape)
