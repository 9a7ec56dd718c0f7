"""Compute the weights that are computed from constants alone, whatever their size.

A norm of weights, a low-rank update or a table that is tied to an embedding stays a few nodes in the captured graph,
whose folding has a limit of size so that files do not grow. Integers are stored of the weight itself.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from typing import TYPE_CHECKING, Any

import numpy.typing as npt

from ...graphs.values import add_constant, constant, drop_unused

if TYPE_CHECKING:
    import onnx_ir as ir

RANDOM = frozenset(
    {"Bernoulli", "Multinomial", "RandomNormal", "RandomNormalLike", "RandomUniform", "RandomUniformLike"}
)


def fold_weights(model: ir.Model, weighted: Collection[str]) -> int:
    """Replace in place what hangs on constants only and ends in an operator of `weighted`; returns how many values."""
    fixed = _fixed(model.graph)
    values = list(dict.fromkeys(_ends(model.graph, weighted, fixed)))
    known: dict[ir.Value, npt.NDArray[Any]] = {}
    for value in values:
        array = _computed(value, known, model.opset_imports[""])
        folded = add_constant(model.graph, f"{value.name}_folded", array)
        for use in list(value.uses()):
            if use.node.graph is model.graph and use.node not in fixed:
                use.node.replace_input_with(use.idx, folded)
    for node in reversed(list(fixed)):
        _drop(model.graph, node)
    return len(values)


def _fixed(graph: ir.Graph) -> dict[ir.Node, None]:
    """Nodes whose results depend on constants only, in order."""
    fixed: dict[ir.Node, None] = {}
    for node in graph:
        plain = node.domain == "" and node.op_type not in RANDOM and not any(_is_body(node, a) for a in node.attributes)
        if plain and all(v is None or constant(v) is not None or v.producer() in fixed for v in node.inputs):
            fixed[node] = None
    return fixed


def _is_body(node: ir.Node, name: str) -> bool:
    import onnx_ir as ir

    return node.attributes[name].type in (ir.AttributeType.GRAPH, ir.AttributeType.GRAPHS)


def _ends(graph: ir.Graph, weighted: Collection[str], fixed: Collection[ir.Node]) -> Iterator[ir.Value]:
    """What weighted operators that stay read of the results of fixed nodes."""
    for node in graph:
        if node.domain == "" and node.op_type in weighted and node not in fixed:
            for value in node.inputs:
                if value is not None and value.producer() in fixed:
                    yield value


def _computed(value: ir.Value, known: dict[ir.Value, npt.NDArray[Any]], opset: int) -> npt.NDArray[Any]:
    """The array of a value that hangs on constants, and of all before it."""
    array = constant(value)
    if array is not None:
        return array
    if value not in known:
        node = value.producer()
        assert node is not None
        inputs = [None if v is None else _computed(v, known, opset) for v in node.inputs]
        known.update(zip(node.outputs, _evaluated(node, inputs, opset), strict=True))
    return known[value]


def _evaluated(node: ir.Node, inputs: list[npt.NDArray[Any] | None], opset: int) -> list[npt.NDArray[Any]]:
    """The results of one node, as ONNX's own reference computes them."""
    import onnx_ir as ir
    from onnx import helper
    from onnx.reference import ReferenceEvaluator

    proto = ir.to_proto(node)
    feed = {str(v.name): array for v, array in zip(node.inputs, inputs, strict=True) if v is not None}
    given = [helper.make_empty_tensor_value_info(name) for name in feed]
    results = [helper.make_empty_tensor_value_info(str(value.name)) for value in node.outputs]
    graph = helper.make_graph([proto], "node", given, results)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)])
    return list(ReferenceEvaluator(model).run(None, feed))


def _drop(graph: ir.Graph, node: ir.Node) -> None:
    """Remove a node that nothing reads any more, and constants with it."""
    if any(value.uses() or value.is_graph_output() for value in node.outputs):
        return
    inputs = [value for value in node.inputs if value is not None]
    graph.remove(node, safe=True)
    for value in inputs:
        drop_unused(graph, value)
