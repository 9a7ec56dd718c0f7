"""Store a table once that is read row by row and multiplied with: words that are embedded and predicted by one table.

The product has its integers, the embedding its floats. Where the integers are those of the table, as it is or
transposed, the rows are taken of them as well, and the floats go.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from ...graphs.values import add_constant, constant, drop_unused, number

if TYPE_CHECKING:
    import onnx_ir as ir

# Bytes of a table below which there is nothing to gain.
LEAST = 1 << 16
# Rounding to the nearest is off by half a step, as float32 computes it; looked at by so many rows at a time.
HALF_STEP, ROWS = 0.5 + 1e-3, 4096
WEIGHT = 1


def share_tables(graph: ir.Graph) -> int:
    """Rewrite in place, in a graph with Q/DQ inserted; returns how many tables are stored once instead of twice."""
    tables = [value for value in graph.initializers.values() if _is_table(value, graph)]
    return sum(_shared(graph, table) for table in tables)


def _is_table(value: ir.Value, graph: ir.Graph) -> bool:
    """Whether single rows of it are all that is read."""
    array = value.const_value
    if array is None or len(array.shape) != 2 or array.dtype.name != "FLOAT" or array.nbytes < LEAST:
        return False
    uses = list(value.uses())
    rows = all(use.node.graph is graph and _takes_rows(use.node) and use.idx == 0 for use in uses)
    return bool(uses) and rows and not value.is_graph_output() and not value.is_graph_input()


def _takes_rows(node: ir.Node) -> bool:
    return node.domain == "" and node.op_type == "Gather" and number(node, "axis", 0) in (0, -2)


def _shared(graph: ir.Graph, table: ir.Value) -> bool:
    array = constant(table)
    assert array is not None
    found = next((node for node in graph if _holds(node, array)), None)
    if found is None:
        return False
    integers, scale = found.inputs[0], found.inputs[1]
    assert integers is not None and scale is not None
    if _is_transposed(found):
        integers = _turned(graph, integers)
    for use in list(table.uses()):
        _take_rows(graph, use.node, integers, scale)
    drop_unused(graph, table)
    return True


def _holds(node: ir.Node, table: npt.NDArray[np.float32]) -> bool:
    """Whether a DequantizeLinear gives the table, rounded by row; or its transpose, by column."""
    if node.op_type != "DequantizeLinear" or node.domain != "" or "block_size" in node.attributes:
        return False
    integers, scale, zero = (constant(value) for value in (*node.inputs, None)[:3])
    if integers is None or integers.dtype != np.int8 or scale is None or scale.ndim != 1:
        return False
    by_row = integers.T if _is_transposed(node) else integers
    fits = by_row.shape == table.shape and scale.shape == (len(table),) and (zero is None or not zero.any())
    return fits and all(
        _is_rounded(table[i : i + ROWS], by_row[i : i + ROWS], scale[i : i + ROWS, None]) for i in _starts(table)
    )


def _starts(table: npt.NDArray[np.float32]) -> Iterable[int]:
    return range(0, len(table), ROWS)


def _is_rounded(
    floats: npt.NDArray[np.float32], integers: npt.NDArray[np.int8], scale: npt.NDArray[np.float32]
) -> bool:
    return bool((np.abs(integers * scale - floats) <= HALF_STEP * scale).all())


def _is_transposed(node: ir.Node) -> bool:
    return number(node, "axis", 1) in (1, -1)


def _turned(graph: ir.Graph, integers: ir.Value) -> ir.Value:
    """The integers by row, for all that read them by column."""
    array = constant(integers)
    assert array is not None
    by_row = add_constant(graph, f"{integers.name}_rows", np.ascontiguousarray(array.T))
    for node in [use.node for use in integers.uses()]:
        _read_by_row(graph, node, by_row)
    drop_unused(graph, integers)
    return by_row


def _read_by_row(graph: ir.Graph, node: ir.Node, by_row: ir.Value) -> None:
    """Let a DequantizeLinear give what it gave: a Gemm takes its transpose, for others it is transposed.

    Behind it, since OpenVINO has no integer product of integers that were transposed before.
    """
    import onnx_ir as ir

    floats = node.outputs[0]
    others = [use for use in floats.uses() if not (use.node.op_type == "Gemm" and use.idx == WEIGHT)]
    for product in {use.node for use in floats.uses()} - {use.node for use in others}:
        product.attributes["transB"] = ir.AttrInt64("transB", 1 - int(number(product, "transB", 0)))
    node.replace_input_with(0, by_row)
    node.attributes["axis"] = ir.AttrInt64("axis", 0)
    floats.shape, floats.type = by_row.shape, ir.TensorType(ir.DataType.FLOAT)
    if others:
        turned = _inserted(graph, others[0].node, "columns", "Transpose", [floats], {"perm": [1, 0]})
        for use in others:
            use.node.replace_input_with(use.idx, turned)


def _take_rows(graph: ir.Graph, gather: ir.Node, integers: ir.Value, scale: ir.Value) -> None:
    """Rows of integers times their scales, in place of rows of floats."""
    import onnx_ir as ir

    old, ids = gather.outputs[0], gather.inputs[1]
    last = add_constant(graph, f"{old.name}_axes", np.asarray([-1]))
    rows = _inserted(graph, gather, "rows", "Gather", [integers, ids], {"axis": 0})
    floats = _inserted(graph, gather, "floats", "Cast", [rows], {"to": int(ir.DataType.FLOAT)})
    steps = _inserted(graph, gather, "scales", "Gather", [scale, ids], {"axis": 0})
    column = _inserted(graph, gather, "column", "Unsqueeze", [steps, last], {})
    product = ir.node("Mul", [floats, column], name=gather.name)
    new = product.outputs[0]
    new.name, new.shape, new.type = old.name, old.shape, old.type
    ir.convenience.replace_nodes_and_values(graph, gather, [gather], [product], [old], [new])


def _inserted(
    graph: ir.Graph,
    reader: ir.Node,
    role: str,
    operator: str,
    inputs: list[ir.Value | None],
    attributes: dict[str, Any],
) -> ir.Value:
    """What a new node before the reader gives."""
    import onnx_ir as ir

    node = ir.node(operator, inputs, attributes, name=f"{reader.name}/{role}" if reader.name else None)
    graph.insert_before(reader, node)
    return node.outputs[0]
