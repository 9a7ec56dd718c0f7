"""Take out the Q/DQ pairs behind operators that only move values which are on that grid already."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ....profiles.device.target import Scheme
from ...graphs.values import constant
from ..moving import interpolates, moves

if TYPE_CHECKING:
    import onnx_ir as ir

_Affine = tuple[bytes, bytes]


def carry_integers(graph: ir.Graph, scheme: Scheme) -> int:
    """Rewrite in place; returns how many pairs are gone. What the graph computes stays the same, bit by bit.

    Args:
        graph: with Q/DQ inserted.
    """
    found = [node for node in graph if node.op_type == "QuantizeLinear" and _needless(node, scheme)]
    for quantize in found:
        (use,) = quantize.outputs[0].uses()
        dequantized, value = use.node.outputs[0], quantize.inputs[0]
        assert value is not None
        dequantized.replace_all_uses_with(value)
        graph.remove([use.node, quantize], safe=True)
    return len(found)


def _needless(quantize: ir.Node, scheme: Scheme) -> bool:
    readers = [use.node for use in quantize.outputs[0].uses()]
    if len(readers) != 1 or readers[0].op_type != "DequantizeLinear" or readers[0].outputs[0].is_graph_output():
        return False
    value, grid = quantize.inputs[0], _grid(quantize)
    producer = value.producer() if value is not None else None
    return grid is not None and producer is not None and _gives(producer, grid, scheme)


def _gives(node: ir.Node, grid: _Affine, scheme: Scheme) -> bool:
    """Whether every value that the node gives is on the grid."""
    if node.op_type in ("DequantizeLinear", "QuantizeLinear") and node.domain == "":
        return _grid(node) == grid
    if node.op_type in scheme.shared and node.domain == "":
        moved = [value for value in node.inputs if value is not None]
    elif moves(node, scheme) and not interpolates(node):
        moved = [node.inputs[0]]  # type: ignore[list-item]
    else:
        return False
    return all((producer := value.producer()) is not None and _gives(producer, grid, scheme) for value in moved)


def _grid(node: ir.Node) -> _Affine | None:
    """Scale and zero point; None where they are not plain constants of one tensor."""
    scale, zero = (constant(value) for value in node.inputs[1:3]) if len(node.inputs) > 2 else (None, None)
    if scale is None or zero is None or scale.size != 1:
        return None
    return scale.tobytes(), zero.dtype.str.encode() + zero.tobytes()
