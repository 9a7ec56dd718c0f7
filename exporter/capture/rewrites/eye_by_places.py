"""Write the diagonal of a matrix of free size as a comparison of its rows' and columns' places.

TensorRT has no EyeLike of a free size (XLNet's relative positions).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from ...graphs.values import add_constant, number

if TYPE_CHECKING:
    import onnx_ir as ir


def eye_by_places(model: ir.Model) -> int:
    """Rewrite in place every EyeLike of a size that is not known; returns how many there were."""
    found = [node for node in model.graph if node.domain == "" and node.op_type == "EyeLike" and _is_free(node)]
    for node in found:
        _rewrite(model.graph, node)
    return len(found)


def _is_free(node: ir.Node) -> bool:
    """Whether its size is free, and its type known."""
    read = node.inputs[0]
    if read is None or not _kind(node):
        return False
    return read.shape is None or not all(isinstance(size, int) for size in read.shape)


def _kind(node: ir.Node) -> int:
    """The type that it gives, as ONNX numbers them; 0 where that is not known."""
    dtype = None if node.inputs[0] is None else node.inputs[0].dtype
    return int(number(node, "dtype", 0 if dtype is None else dtype.value))


def _rewrite(graph: ir.Graph, node: ir.Node) -> None:
    """One where the column is the row and `k`."""
    import onnx_ir as ir

    name, result = node.name or "EyeLike", node.outputs[0]
    sizes = ir.node("Shape", node.inputs[:1], name=f"{name}/Shape")
    rows, columns = (_places(graph, sizes, axis, f"{name}/{said}") for axis, said in enumerate(("rows", "columns")))
    offset = add_constant(graph, f"{name}_k", np.array(int(number(node, "k", 0)), np.int64))
    moved = ir.node("Add", [rows[-1].outputs[0], offset], name=f"{name}/Add")
    equal = ir.node("Equal", [moved.outputs[0], columns[-1].outputs[0]], name=f"{name}/Equal")
    cast = ir.node("Cast", equal.outputs, {"to": _kind(node)}, name=name)
    made = [sizes, *rows, *columns, moved, equal, cast]
    for index, inner in enumerate(made[:-1]):
        inner.outputs[0].name = f"{result.name}_place{index}"
    ir.convenience.replace_nodes_and_values(graph, node, [node], made, [result], cast.outputs)


def _places(graph: ir.Graph, sizes: ir.Node, axis: int, name: str) -> list[ir.Node]:
    """The numbers of the places along an axis, as a column for the first and a row for the second."""
    import onnx_ir as ir

    first, step, which, other = (
        add_constant(graph, f"{name}_{what}", np.array(value, np.int64))
        for what, value in (("first", 0), ("step", 1), ("axis", axis), ("other", [1 - axis]))
    )
    size = ir.node("Gather", [sizes.outputs[0], which], {"axis": 0}, name=f"{name}/Gather")
    counted = ir.node("Range", [first, size.outputs[0], step], name=f"{name}/Range")
    return [size, counted, ir.node("Unsqueeze", [counted.outputs[0], other], name=f"{name}/Unsqueeze")]
