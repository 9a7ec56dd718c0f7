"""Write log(sigmoid(x)) as -softplus(-x), which it is.

onnxruntime's Sigmoid (1.31) is 0 from -18 down, where torch's is 1e-8: the logarithm of that is -inf, and the captured
graph was refused.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ...graphs.values import remove_unread

if TYPE_CHECKING:
    import onnx_ir as ir


def log_sigmoid(model: ir.Model) -> int:
    """Rewrite in place every Log of a Sigmoid; returns how many there were."""
    done = 0
    for node in list(model.graph):
        if node.op_type == "Log" and node.domain == "" and (value := _of_sigmoid(node.inputs[0])) is not None:
            _replace(model.graph, node, value)
            done += 1
    return done


def _of_sigmoid(value: ir.Value | None) -> ir.Value | None:
    """What the value is the Sigmoid of; None where it is none."""
    maker = None if value is None else value.producer()
    return maker.inputs[0] if maker is not None and maker.op_type == "Sigmoid" and maker.domain == "" else None


def _replace(graph: ir.Graph, log: ir.Node, value: ir.Value) -> None:
    import onnx_ir as ir

    result, sigmoid = log.outputs[0], log.inputs[0]
    nodes = [ir.node("Neg", [value], name=f"{log.name}_minus")]
    for kind, name in (("Softplus", f"{log.name}_softplus"), ("Neg", log.name)):
        nodes.append(ir.node(kind, [nodes[-1].outputs[0]], name=name))
    for node in nodes:
        node.outputs[0].type, node.outputs[0].shape = result.type, result.shape
    new, name = nodes[-1].outputs[0], result.name
    ir.convenience.replace_nodes_and_values(graph, log, [log], nodes, [result], [new])
    new.name = name
    if sigmoid is not None:
        remove_unread(graph, sigmoid)
