"""Which nodes of a captured graph are the network, and which are what is computed around it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..sources.parts import AROUND, without_parts

if TYPE_CHECKING:
    import onnx_ir as ir


def name_weights(graph: ir.Graph) -> None:
    """Call the weights of a pipeline as its parts do; those of any other module are called so already."""
    for value in list(graph.initializers.values()):
        if value.name and (name := without_parts(value.name)) != value.name and name not in graph.initializers:
            value.name = name


def is_around(node: ir.Node) -> bool:
    """The node is of `preprocess` or `postprocess`, by its name."""
    return (node.name or "").startswith(AROUND)


def name_strays(nodes: list[ir.Node]) -> None:
    """Count nodes that no exporter placed among what is around the network, where what they read is of that.

    Exporters and optimizers add nodes without a scope, as for a broadcast; their names then have no part in front.
    """
    if not any(is_around(node) for node in nodes):
        return
    for node in nodes:
        if "/" in (node.name or "") or is_around(node):
            continue
        before = [producer for value in node.inputs if value is not None and (producer := value.producer())]
        part = next((a for a in AROUND if before and all((p.name or "").startswith(a) for p in before)), None)
        if part is not None:
            node.name = f"{part}/{node.name or node.op_type}"
