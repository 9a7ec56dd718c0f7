"""The order of nodes: ONNX wants each after those it reads, which onnxruntime's float16 converter does not keep to."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from ...profiles.reading.opened import LINE

if TYPE_CHECKING:
    import onnx_ir as ir


def in_order(graph: ir.Graph) -> bool:
    """Whether each node comes after those that it, or a body in it, reads."""
    seen: set[ir.Node] = set()
    for node in graph:
        for value in _read(node):
            producer = value.producer()
            if producer is not None and producer.graph is graph and producer not in seen:
                return False
        if not all(in_order(body) for body in bodies(node)):
            return False
        seen.add(node)
    return True


def unmade(graph: ir.Graph) -> Iterator[str]:
    """Inputs of nodes that are no input of a graph, no constant, and no node's result: each in words."""
    for node in graph.all_nodes():
        for value in node.inputs:
            if value is None or value.producer() is not None or value.is_graph_input() or value.is_initializer():
                continue
            name, read = str(node.name or node.op_type)[:LINE], str(value.name)[:LINE]
            yield f"{name} ({node.op_type}) reads {read!r}, which is no input, no constant and no node's result"


def _read(node: ir.Node) -> Iterator[ir.Value]:
    yield from (value for value in node.inputs if value is not None)
    for body in bodies(node):
        yield from (value for value in body.outputs if value is not None)
        for inner in body:
            yield from _read(inner)


def bodies(node: ir.Node) -> Iterator[ir.Graph]:
    """The graphs in a node: of If, Loop and Scan."""
    import onnx_ir as ir

    for attribute in node.attributes.values():
        if attribute.type is ir.AttributeType.GRAPH:
            yield attribute.value
        elif attribute.type is ir.AttributeType.GRAPHS:
            yield from attribute.value
