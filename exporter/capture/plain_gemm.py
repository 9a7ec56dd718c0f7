"""Put the factors of a Gemm into its constants: no runtime has an integer kernel for one with alpha or beta.

`torch.addmm(..., beta=, alpha=)` makes such a one, and so do converters of other frameworks.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from ..graphs.values import add_constant, constant, drop_unused, number

if TYPE_CHECKING:
    import onnx_ir as ir


def plain_gemm(model: ir.Model) -> int:
    """Multiply in place weights by alpha and biases by beta, where they are constants; returns how many there were."""
    found = 0
    for node in (node for node in model.graph if node.domain == "" and node.op_type == "Gemm"):
        for name, index in (("alpha", 1), ("beta", 2)):
            found += _into(model.graph, node, name, index)
    return found


def _into(graph: ir.Graph, node: ir.Node, name: str, index: int) -> bool:
    factor = number(node, name, 1)
    value = node.inputs[index] if len(node.inputs) > index else None
    array = constant(value)
    if factor == 1 or value is None or array is None or array.dtype != np.float32:
        return False
    node.replace_input_with(index, add_constant(graph, f"{value.name}_{name}", array * np.float32(factor)))
    del node.attributes[name]
    drop_unused(graph, value)
    return True
