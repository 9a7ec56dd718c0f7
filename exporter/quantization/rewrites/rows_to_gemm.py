"""Compute on the tokens of a transformer as rows of one matrix, and its linear layers as Gemm.

A linear layer on a tensor of rank 3 is MatMul and Add in ONNX. Over rows of rank 2 it is one Gemm, whose bias an
integer kernel adds in int32 for nothing. The reshapes that this takes stand where tokens enter and leave a stretch of
operators that work on each row alone (residual Add, LayerNormalization, Gelu ...): a handful for a whole encoder.

The result is the same up to the rounding of float32. Values keep their names, so that statistics of the graph before
hold for the one after.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

import numpy as np

from ...capture.rewrites.plain_gemm import merge
from ...graphs.names import free_name, value_names
from ...graphs.values import add_constant, constant, number, single_consumer

if TYPE_CHECKING:
    import onnx_ir as ir

UNARY = frozenset(
    {"Gelu", "Relu", "Tanh", "Sigmoid", "Erf", "Sqrt", "Elu", "LeakyRelu", "HardSwish", "Mish", "Identity"}
)
BINARY = frozenset({"Add", "Sub", "Mul", "Div"})
SHAPE_WITH_START = 15  # the opset from which Shape gives some of the sizes


def rows_to_gemm(model: ir.Model) -> int:
    """Rewrite in place wherever more bias additions vanish than nodes are added; returns the number of new Gemms."""
    sizes_at_hand = model.opset_imports.get("", 0) >= SHAPE_WITH_START
    return sum(_rewrite(model.graph, nodes, sizes_at_hand) for nodes in _stretches(model.graph))


def _stretches(graph: ir.Graph) -> list[list[ir.Node]]:
    """Row-wise nodes that are connected by their tensors, in the order of the graph."""
    nodes = [node for node in graph if _row_wise(node)]
    group: dict[ir.Node, list[ir.Node]] = {node: [node] for node in nodes}
    for node in nodes:
        for value in _tensors(node):
            for other in (value.producer(), *(use.node for use in value.uses())):
                if other in group and group[other] is not group[node]:
                    merged = group[other] + group[node]
                    group.update(dict.fromkeys(merged, merged))
    order = {node: index for index, node in enumerate(graph)}
    return [sorted(found, key=order.__getitem__) for found in {id(g): g for g in group.values()}.values()]


def _row_wise(node: ir.Node) -> bool:
    """Whether each row of the result depends on the same row of the tensors read, and on constants."""
    if node.domain != "" or _width(node.outputs[0]) is None or any(_width(value) is None for value in _tensors(node)):
        return False
    if node.op_type in UNARY:
        return True
    if node.op_type == "LayerNormalization":
        rank = node.outputs[0].shape.rank()  # type: ignore[union-attr]
        single = len(node.outputs) == 1 and all(constant(value) is not None for value in node.inputs[1:])
        return single and int(number(node, "axis", -1)) in (-1, rank - 1)
    if node.op_type == "MatMul":
        weight = constant(node.inputs[1])
        return weight is not None and weight.ndim == 2
    return node.op_type in BINARY and _same_rows(node)


def _same_rows(node: ir.Node) -> bool:
    """Whether the operands of a binary operator have the result's shape, or are constants of one row.

    With one tensor only, the result has its shape, even where the exporter calls a free size by another name.
    """
    tensors = _tensors(node)
    rows = all((array := constant(value)) is None or array.ndim <= 1 for value in node.inputs)
    alike = all(value.shape == node.outputs[0].shape for value in tensors)
    return rows and (alike or len(tensors) == 1) and len(tensors) > 0


def _tensors(node: ir.Node) -> list[ir.Value]:
    return [value for value in node.inputs if value is not None and constant(value) is None]


def _width(value: ir.Value) -> int | None:
    """The last size of a tensor of rank 3 or more, where all sizes are known by number or name."""
    if value.shape is None or value.shape.rank() < 3 or value.is_graph_input():
        return None
    *rows, last = value.shape
    named = all(isinstance(size, int) or size.value is not None for size in rows)
    return last if named and isinstance(last, int) else None


def _rewrite(graph: ir.Graph, nodes: list[ir.Node], sizes_at_hand: bool) -> int:
    inside = set(nodes)
    biased = [(node, add) for node in nodes if (add := _bias_add(node)) is not None and add in inside]
    entries = _unique(v for node in nodes for v in _tensors(node) if v.producer() not in inside)
    exits = [v for node in nodes for v in node.outputs if _leaves(v, inside)]
    # A reshape for what enters, unless it was reshaped before, and for what leaves, whose shape has to be computed.
    added = sum(not _is_reshape(v, inside) for v in entries) + (len(exits) + 2 if exits else 0)
    if len(biased) <= added or (exits and not entries) or _known_twice(nodes, entries):
        return 0
    if exits:
        if not sizes_at_hand and _unknown(entries[0]) > 1:
            return 0
        sizes = _leading_sizes(entries[0])
        for value in exits:
            _restore(graph, value, inside, _shape(graph, value, sizes))
    for value in entries:
        _flatten(graph, value, inside)
    for node in nodes:
        _two_axes(node.outputs[0])
    for product, add in biased:
        merge(graph, product, add)
    return len(biased)


def _known_twice(nodes: list[ir.Node], entries: list[ir.Value]) -> bool:
    """Whether an output of the graph is read by these nodes: as rows it would need the name that the output keeps.

    The user knows the one by that name, and the statistics the other.
    """
    inside = set(nodes)
    read = [value for node in nodes for value in node.outputs if any(use.node in inside for use in value.uses())]
    return any(value.is_graph_output() for value in (*entries, *read))


def _unique(values: Iterable[ir.Value]) -> list[ir.Value]:
    return list(dict.fromkeys(values))


def _bias_add(product: ir.Node) -> ir.Node | None:
    """The Add that adds a bias to a product and is alone in reading it."""
    add = single_consumer(product.outputs[0]) if product.op_type == "MatMul" else None
    if add is None or add.domain != "" or add.op_type != "Add":
        return None
    biases = [array for value in add.inputs if (array := constant(value)) is not None]
    fits = len(biases) == 1 and biases[0].shape == (_width(product.outputs[0]),)
    return add if fits else None


def _leaves(value: ir.Value, inside: set[ir.Node]) -> bool:
    """Whether a value is read where its rank matters."""
    return value.is_graph_output() or any(
        use.node not in inside and not _reshaped(use.node, use.idx) for use in value.uses()
    )


def _reshaped(node: ir.Node, index: int) -> bool:
    """Whether the reader gives the value a shape of its own that does not copy a size of the old one."""
    if node.domain != "" or node.op_type != "Reshape" or index != 0:
        return False
    shape = constant(node.inputs[1])
    return bool(number(node, "allowzero", 0)) or (shape is not None and bool((shape != 0).all()))


def _is_reshape(value: ir.Value, inside: set[ir.Node]) -> bool:
    """Whether a value is made by a Reshape for these nodes alone, which may as well make rows of it."""
    node = value.producer()
    only = all(use.node in inside for use in value.uses()) and not value.is_graph_output()
    return node is not None and node.domain == "" and node.op_type == "Reshape" and only


def _unknown(value: ir.Value) -> int:
    """How many of the sizes but the last are no numbers."""
    assert value.shape is not None
    return sum(not isinstance(size, int) for size in list(value.shape)[:-1])


def _leading_sizes(value: ir.Value) -> list[int] | ir.Value:
    """All sizes of a value but the last: a list with at most one -1, or a tensor that is computed."""
    import onnx_ir as ir

    assert value.shape is not None
    sizes = [size if isinstance(size, int) else -1 for size in list(value.shape)[:-1]]
    if _unknown(value) <= 1:
        return sizes
    node = ir.node("Shape", [value], {"start": 0, "end": -1}, name=f"{value.name}_rows")
    result = node.outputs[0]
    result.name, result.type = f"{value.name}_leading_sizes", ir.TensorType(ir.DataType.INT64)
    result.shape = ir.Shape([len(sizes)])
    _insert_after(value, node)
    return result


def _shape(graph: ir.Graph, value: ir.Value, sizes: list[int] | ir.Value) -> ir.Value:
    """The shape that a value of this stretch has over all its axes, as a tensor."""
    import onnx_ir as ir

    if isinstance(sizes, list):
        return add_constant(graph, f"{value.name}_sizes", np.asarray([*sizes, _width(value)], np.int64))
    width = add_constant(graph, f"{value.name}_width", np.asarray([_width(value)], np.int64))
    node = ir.node("Concat", [sizes, width], {"axis": 0}, name=f"{value.name}_sizes")
    whole = node.outputs[0]
    whole.name, whole.type = f"{value.name}_sizes", sizes.type
    whole.shape = ir.Shape([value.shape.rank()])  # type: ignore[union-attr]
    _insert_after(value, node)
    return whole


def _restore(graph: ir.Graph, value: ir.Value, inside: set[ir.Node], shape: ir.Value) -> None:
    """Give the readers outside the tensor in its old shape."""
    import onnx_ir as ir

    back = ir.node("Reshape", [value, shape], name=f"{value.name}_restore")
    result = back.outputs[0]
    result.type, result.shape = value.type, value.shape
    readers = [
        (use.node, use.idx) for use in value.uses() if use.node not in inside and not _reshaped(use.node, use.idx)
    ]
    for node, index in readers:
        if node is not back:
            node.replace_input_with(index, result)
    _insert_after(shape if shape.producer() is not None else value, back)
    result.name = f"{value.name}_restored"
    if value.is_graph_output():
        value.name, result.name = f"{value.name}_rows", value.name
        outputs = graph.outputs
        outputs[next(i for i, v in enumerate(outputs) if v is value)] = result


def _flatten(graph: ir.Graph, value: ir.Value, inside: set[ir.Node]) -> None:
    """Give the nodes inside the tensor as rows, under its old name."""
    import onnx_ir as ir

    name = str(value.name)
    shape = add_constant(graph, f"{name}_as_rows", np.asarray([-1, _width(value)], np.int64))
    if _is_reshape(value, inside):
        producer = value.producer()
        assert producer is not None
        producer.replace_input_with(1, shape)
        _two_axes(value)
        return
    node = ir.node("Reshape", [value, shape], name=f"{name}_flatten")
    rows = node.outputs[0]
    rows.type, rows.shape = value.type, value.shape
    for use in [use for use in value.uses() if use.node in inside]:
        use.node.replace_input_with(use.idx, rows)
    _insert_after(value, node)
    value.name = free_name(f"{name}_tokens", value_names(graph))
    rows.name = name
    _two_axes(rows)


def _two_axes(value: ir.Value) -> None:
    import onnx_ir as ir

    assert value.shape is not None
    value.shape = ir.Shape([None, value.shape[-1]])


def _insert_after(value: ir.Value, node: ir.Node) -> None:
    producer = value.producer()
    assert producer is not None and producer.graph is not None
    producer.graph.insert_after(producer, node)
