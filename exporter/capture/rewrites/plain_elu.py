"""Write Celu as an Elu of what is divided by its alpha, which it is.

TensorRT's parser (RTX 1.7) makes a sum of a value without a rank of a Celu of float16, and refuses it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ...graphs.values import add_constant, as_float32, everywhere, number, owner, replace

if TYPE_CHECKING:
    import onnx_ir as ir


def plain_elu(model: ir.Model) -> int:
    """Rewrite in place every Celu, in bodies as well; returns how many there were."""
    found = everywhere(model, "Celu")
    for node in found:
        nodes, result = _nodes(node, number(node, "alpha", 1.0)), node.outputs[0]
        for new in nodes:
            new.outputs[0].type, new.outputs[0].shape = result.type, result.shape
        replace(owner(node), node, nodes)
    return len(found)


def _nodes(node: ir.Node, alpha: float) -> list[ir.Node]:
    """What takes its place, the last one with its result."""
    import onnx_ir as ir

    if alpha == 1.0:
        return [ir.node("Elu", [node.inputs[0]], name=node.name)]
    by = add_constant(owner(node), f"{node.name}_alpha", as_float32(alpha))
    nodes = [ir.node("Div", [node.inputs[0], by], name=f"{node.name}_divided")]
    nodes.append(ir.node("Elu", [nodes[-1].outputs[0]], name=f"{node.name}_elu"))
    return [*nodes, ir.node("Mul", [nodes[-1].outputs[0], by], name=node.name)]
