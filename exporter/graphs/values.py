"""Small questions that several passes ask of a value."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from .names import free_name, value_names

if TYPE_CHECKING:
    import onnx_ir as ir


def constant(value: ir.Value | None) -> npt.NDArray[Any] | None:
    """The array of an initializer, None for anything that is computed or fed."""
    if value is None or value.const_value is None or value.is_graph_input():
        return None
    return value.const_value.numpy()


def sizes(value: ir.Value | None) -> tuple[int | None, ...]:
    """Of the axes of a value, None for one that is free; empty where it has none or nothing is known of it."""
    if value is None or value.shape is None:
        return ()
    return tuple(size if isinstance(size, int) else None for size in value.shape)


def outside(array: npt.NDArray[Any], narrow: str) -> int | None:
    """The first of whole numbers that a narrower type does not hold, but for the least and the largest of 64 bits.

    Those are how exporters write "to the end": clamped they say the same.
    """
    limits, wide = np.iinfo(narrow), np.iinfo(np.int64)
    found = array[((array < limits.min) & (array > wide.min + 1)) | ((array > limits.max) & (array < wide.max))]
    return int(found.flat[0]) if found.size else None


def single_consumer(value: ir.Value) -> ir.Node | None:
    """The one node that reads the value; None where several do, one in a body of If or Loop, or it leaves the graph."""
    uses = list(value.uses())
    if len(uses) != 1 or value.is_graph_output():
        return None
    return uses[0].node if uses[0].node.graph is value.graph else None


def everywhere(model: ir.Model, *operators: str) -> list[ir.Node]:
    """ONNX's own nodes of these types, in bodies of If, Loop and Scan too."""
    return [node for node in model.graph.all_nodes() if node.domain == "" and node.op_type in operators]


def owner(node: ir.Node) -> ir.Graph:
    """The graph, or body, that holds a node; what is made for the node belongs there."""
    import onnx_ir as ir

    assert isinstance(node.graph, ir.Graph)
    return node.graph


def number(node: ir.Node, name: str, default: float) -> float:
    """A numeric attribute, or its default where the node does not give it."""
    attribute = node.attributes.get(name)
    return default if attribute is None else float(attribute.value)


def integers(node: ir.Node, name: str, default: Sequence[int]) -> list[int]:
    """An attribute of integers, or its default where the node does not give it."""
    attribute = node.attributes.get(name)
    return list(default) if attribute is None else list(attribute.as_ints())


def add_constant(graph: ir.Graph, name: str, array: npt.NDArray[Any], taken: set[str] | None = None) -> ir.Value:
    """A new initializer, under the name or one derived from it that is still free.

    Args:
        taken: every name of the graph, for one who adds many; the new one is noted there.
    """
    import onnx_ir as ir

    taken = value_names(graph) if taken is None else taken
    name = free_name(name, taken)
    taken.add(name)
    value = ir.Value(name=name, const_value=ir.Tensor(array, name=name))
    value.shape, value.type = ir.Shape(array.shape), ir.TensorType(ir.DataType.from_numpy(array.dtype))
    graph.register_initializer(value)
    return value


def drop_unused(graph: ir.Graph, value: ir.Value) -> None:
    """Remove an initializer that nothing reads any more."""
    if value.is_initializer() and not value.uses() and not value.is_graph_output():
        del graph.initializers[str(value.name)]


def remove_unread(graph: ir.Graph, value: ir.Value | None) -> None:
    """Remove what makes a value that nothing reads any more, and all that was computed for it alone."""
    maker = None if value is None else value.producer()
    if (
        maker is None
        or maker.graph is None
        or any(output.uses() or output.is_graph_output() for output in maker.outputs)
    ):
        return
    read = list(maker.inputs)
    graph.remove(maker, safe=True)
    for each in read:
        if each is not None:
            drop_unused(graph, each)
            remove_unread(graph, each)


def expose(graph: ir.Graph, names: Collection[str]) -> None:
    """Make values of a graph outputs of it, behind those that it has."""
    present = {value.name for value in (*graph.outputs, *graph.inputs)}
    values = {value.name: value for node in graph for value in node.outputs}
    graph.outputs.extend(values[name] for name in dict.fromkeys(names) if name not in present)


def as_float32(value: float) -> npt.NDArray[np.float32]:
    """A float32 scalar."""
    return np.asarray(value, dtype=np.float32)


def sliced(graph: ir.Graph, value: ir.Value, axis: int, start: int, end: int, step: int = 1) -> ir.Node:
    """A new node, not yet in the graph, that cuts a part out of one axis."""
    import onnx_ir as ir

    limits = zip(("start", "end", "axis", "step"), (start, end, axis, step), strict=True)
    inputs = (add_constant(graph, f"{value.name or 'part'}_{name}", np.array([at], np.int64)) for name, at in limits)
    return ir.node("Slice", [value, *inputs])


def replace(graph: ir.Graph, node: ir.Node, new: list[ir.Node]) -> None:
    """Put nodes in the place of one; the last gives its result, under its name."""
    import onnx_ir as ir

    result, last = node.outputs[0], new[-1].outputs[0]
    last.type, last.shape, name = result.type, result.shape, result.name
    ir.convenience.replace_nodes_and_values(graph, node, [node], new, [result], [last])
    last.name = name


def take_over(graph: ir.Graph, old: ir.Value, name: str, node: ir.Node, new: list[ir.Node]) -> None:
    """Let the last of the new nodes, which read the old value, give what the readers of that had, under its name.

    Args:
        name: of the old value from now on, or what one that is free is made of.
    """
    last = new[-1].outputs[0]
    for use in [use for use in old.uses() if use.node not in new]:
        use.node.replace_input_with(use.idx, last)
    for index in [index for index, output in enumerate(graph.outputs) if output is old]:
        graph.outputs[index] = last
    last.name, last.type, last.shape = old.name, old.type, old.shape
    old.name, old.shape = free_name(name, value_names(graph)), None
    graph.insert_after(node, new)
