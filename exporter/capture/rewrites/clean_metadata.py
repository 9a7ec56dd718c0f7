"""Leave in a graph what computes, under names that mean something: no paths, traces nor versions of exporters."""

from __future__ import annotations

import ast
from typing import TYPE_CHECKING

from ...sources.parts import without_parts
from ..scopes import name_strays

if TYPE_CHECKING:
    import onnx_ir as ir

_SCOPES = "pkg.torch.onnx.name_scopes"


def clean_metadata(model: ir.Model, *, rename: bool) -> None:
    """Remove metadata, doc strings and the producer, and give every node a unique name.

    Args:
        model: changed in place.
        rename: name nodes after the torch module they come from, `layers.0.conv1/Conv`; else keep the names there are.
    """
    name_nodes(model, rename=rename)
    for graph in model.graphs():
        _clean(graph)
        for value in (*graph.inputs, *graph.initializers.values()):
            _clean(value)
        for node in graph:
            _clean(node)
            for value in node.outputs:
                _clean(value)
    model.graph.name = "model"
    model.metadata_props.clear()
    model.doc_string = None
    model.producer_name, model.producer_version = "edgepress", None
    model.domain, model.model_version = None, None


def name_nodes(model: ir.Model, *, rename: bool) -> None:
    """Give every node of every graph a unique name; in order, so that the same graph gets the same names."""
    nodes = list(model.graph.all_nodes())
    if rename:
        for node in nodes:
            node.name = _module_name(node)
        name_strays(nodes)
    taken: set[str] = set()
    for node in nodes:
        base = node.name or node.op_type
        name, number = base, 1
        while name in taken:
            number += 1
            name = f"{base}_{number}"
        taken.add(name)
        node.name = name


def _module_name(node: ir.Node) -> str:
    """`module/Operator`: the owner of the node's weight, else the scope that an exporter noted."""
    module = _owner(node) or _dynamo_scope(node)
    if module:
        return f"{module}/{node.op_type}"
    return _legacy_name(node.name or "")


def _owner(node: ir.Node) -> str:
    """The module whose `weight` the node takes, which a fused batch normalization does not hide."""
    for value in node.inputs:
        if value is None or not value.is_initializer() or len(list(value.uses())) != 1:
            continue  # a weight that several nodes share names none of them
        if value.name and value.name.endswith(".weight"):
            return value.name.removesuffix(".weight")
    return ""


def _dynamo_scope(node: ir.Node) -> str:
    """The module path from the dynamo exporter's scopes: `['', 'layers.0', 'layers.0.act', 'relu']`."""
    noted = node.metadata_props.get(_SCOPES)
    if not noted:
        return ""
    scopes = [str(scope) for scope in ast.literal_eval(noted)][:-1]
    return without_parts(next((scope for scope in reversed(scopes) if scope and not scope.startswith("_")), ""))


def _legacy_name(name: str) -> str:
    """The legacy exporter's `/stem/stem.0/Conv` as `stem.0/Conv`; other names have no module and give nothing."""
    if not name.startswith("/"):
        return ""
    *scopes, operator = name.strip("/").split("/")
    path: list[str] = []
    for scope in scopes:
        # In a Sequential, the name of the child repeats that of the parent.
        if path and scope.startswith(f"{path[-1]}."):
            path.pop()
        path.append(scope)
    inside = without_parts(".".join(path))
    return f"{inside}/{operator}" if inside else operator


def _clean(thing: ir.Graph | ir.Node | ir.Value) -> None:
    thing.metadata_props.clear()
    thing.doc_string = None
