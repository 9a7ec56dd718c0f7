"""Convert a float32 graph to float16, inputs and outputs unchanged."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ...graphs.order import bodies
from ...graphs.values import owner
from .transposes_apart import transposes_apart

if TYPE_CHECKING:
    import onnx_ir as ir


def to_float16(source: Path, destination: Path, keep: Collection[str] = ()) -> None:
    """Write the float16 form of an ONNX file.

    onnxruntime's converter clamps constants beyond float16's range and casts around operators without a float16 form.
    Bodies of If, Loop and Scan stay float32 whole: it writes the casts of a body into the graph around it.

    Args:
        keep: names of nodes that stay float32; between two of them nothing is cast.
    """
    import onnx
    import onnx_ir as ir
    from onnxruntime.transformers.float16 import DEFAULT_OP_BLOCK_LIST, convert_float_to_float16

    from ...graphs.files import write_model

    given = onnx.load(source)
    # The converter takes what is said of an initializer here for its type, also of one that it leaves float32.
    stored = {tensor.name for tensor in given.graph.initializer}
    _keep(given.graph.value_info, [value.name not in stored for value in given.graph.value_info])
    with_bodies = {node.op_type for node in given.graph.node if any(one.HasField("g") for one in node.attribute)}
    converted = convert_float_to_float16(
        given,
        keep_io_types=True,
        op_block_list=[*DEFAULT_OP_BLOCK_LIST, *sorted(with_bodies)],
        node_block_list=sorted(keep) or None,
    )
    _declared_once(converted.graph)
    model = ir.from_proto(converted)
    for node in list(model.graph):
        _cast_for_bodies(node)
    if keep or with_bodies:
        _uncast(model.graph)
    model.graph.sort()  # the converter appends the casts of the inputs at the end
    transposes_apart(model.graph)
    write_model(model, destination)


def _declared_once(graph: Any) -> None:
    """The converter writes one and the same cast again for each operator in float32 that reads a value."""
    _once(graph.node, [tuple(node.output) for node in graph.node])
    _once(graph.value_info, [(value.name,) for value in graph.value_info])


def _once(entries: Any, keys: Sequence[tuple[str, ...]]) -> None:
    """Remove the entries whose key an earlier one has."""
    if len(set(keys)) < len(keys):
        _keep(entries, [keys.index(key) == index for index, key in enumerate(keys)])


def _keep(entries: Any, which: Sequence[bool]) -> None:
    """Remove the other entries."""
    for index in reversed([index for index, kept in enumerate(which) if not kept]):
        del entries[index]


def _cast_for_bodies(node: ir.Node) -> None:
    """A body in float32 reads values of the graph around it in float32 too."""
    import onnx_ir as ir

    inside = {inner for body in bodies(node) for inner in body.all_nodes()}
    read = [value for inner in inside for value in inner.inputs] + [
        value for body in bodies(node) for value in body.outputs
    ]
    around = {str(value.name): value for value in read if value is not None and value.graph is node.graph}
    for value in (one for _, one in sorted(around.items()) if one.dtype == ir.DataType.FLOAT16):
        cast = ir.node("Cast", [value], {"to": ir.DataType.FLOAT.value})
        cast.name, cast.outputs[0].name = f"{value.name}_cast_for_{node.name}", f"{value.name}_in_{node.name}"
        cast.outputs[0].type, cast.outputs[0].shape = ir.TensorType(ir.DataType.FLOAT), value.shape
        for use in list(value.uses()):
            if use.node in inside:
                use.node.replace_input_with(use.idx, cast.outputs[0])
        for body in bodies(node):
            for index, output in enumerate(body.outputs):
                if output is value:
                    body.outputs[index] = cast.outputs[0]
        owner(node).insert_before(node, cast)


def _uncast(graph: ir.Graph) -> None:
    """Let a float32 value that was cast to float16 and back be read as it is: the way there would lose its range."""
    import onnx_ir as ir

    for node in list(graph):
        back = _cast(node, ir.DataType.FLOAT)
        there = back.producer() if back is not None else None
        value = _cast(there, ir.DataType.FLOAT16) if there is not None else None
        if value is None:
            continue
        if value.dtype != ir.DataType.FLOAT:  # of another precision, or not known: one cast does what the two did
            node.replace_input_with(0, value)
            continue
        result = node.outputs[0]
        if result.is_graph_output():
            _become_output(graph, result, value)
        else:
            for use in list(result.uses()):
                use.node.replace_input_with(use.idx, value)
    for node in reversed(list(graph)):
        if node.op_type == "Cast" and not node.outputs[0].uses() and not node.outputs[0].is_graph_output():
            graph.remove(node, safe=True)


def _become_output(graph: ir.Graph, old: ir.Value, value: ir.Value) -> None:
    """Give the graph the value under the output's name, where the value may: an input stays an input."""
    producer = value.producer()
    if producer is None or producer.op_type == "Cast" or value.is_graph_output():
        return
    index = next(i for i, output in enumerate(graph.outputs) if output is old)
    name, value.shape, value.type = old.name, old.shape, old.type
    for use in list(old.uses()):
        use.node.replace_input_with(use.idx, value)
    graph.outputs[index] = value
    old.name, value.name = f"{name}_cast", name


def _cast(node: ir.Node, to: ir.DataType) -> ir.Value | None:
    """What a Cast to this type reads; None for another node."""
    if node.op_type != "Cast" or node.domain != "":
        return None
    return node.inputs[0] if int(node.attributes["to"].value) == int(to) else None
