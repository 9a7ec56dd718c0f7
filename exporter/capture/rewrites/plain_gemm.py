"""A linear layer over a matrix as one Gemm without factors, for which runtimes have integer kernels.

`torch.addmm(..., beta=, alpha=)` makes a Gemm with factors, and converters of other frameworks write MatMul and Add.
Of those onnxruntime 1.31 makes a Gemm itself before it looks for integers, and with a bias in floats it stays float. A
bias may be one number for all columns, or a row of two axes: integers want one for each column.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from ...graphs.values import add_constant, constant, drop_unused, number, single_consumer
from ..scopes import is_around

if TYPE_CHECKING:
    import onnx_ir as ir


def plain_gemm(model: ir.Model) -> int:
    """Multiply in place weights by alpha and biases by beta, where they are constants; returns how many there were.

    A bias that is the same for all rows becomes one number for each column.
    """
    found = 0
    for node in (node for node in model.graph if node.domain == "" and node.op_type == "Gemm"):
        for name, index in (("alpha", 1), ("beta", 2)):
            found += _into(model.graph, node, name, index)
        found += _as_row(model.graph, node)
    return found


def products_to_gemm(model: ir.Model) -> int:
    """Write in place a MatMul by a constant matrix and the Add of its bias as one Gemm; returns how many there were."""
    found = [(node, add) for node in model.graph if (add := _bias_add(node)) is not None]
    for product, add in found:
        merge(model.graph, product, add)
    return len(found)


def _bias_add(product: ir.Node) -> ir.Node | None:
    """The Add that alone reads a product of two matrices, and adds one constant row to it."""
    if product.domain != "" or product.op_type != "MatMul" or is_around(product):
        return None
    left, weight, add = product.inputs[0], constant(product.inputs[1]), single_consumer(product.outputs[0])
    if left is None or left.shape is None or left.shape.rank() != 2 or weight is None or weight.ndim != 2:
        return None
    if add is None or add.domain != "" or add.op_type != "Add" or constant(left) is not None or is_around(add):
        return None
    biases = [array for value in add.inputs if (array := constant(value)) is not None]
    if len(biases) != 1 or biases[0].shape != (weight.shape[1],):
        return None
    return add if weight.dtype == biases[0].dtype == np.float32 else None  # no runtime has a Gemm of integers


def merge(graph: ir.Graph, product: ir.Node, add: ir.Node) -> None:
    """MatMul and Add to one Gemm, where the Add stood."""
    import onnx_ir as ir

    bias = next(value for value in add.inputs if constant(value) is not None)
    gemm = ir.node("Gemm", [*product.inputs, bias], name=product.name)
    old, new = add.outputs[0], gemm.outputs[0]
    new.type, new.shape = old.type, old.shape
    ir.convenience.replace_nodes_and_values(graph, add, [add, product], [gemm], [old], [new])
    new.name = old.name


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


def _as_row(graph: ir.Graph, node: ir.Node) -> bool:
    value, weight = node.inputs[2] if len(node.inputs) > 2 else None, constant(node.inputs[1])
    bias = constant(value)
    if value is None or bias is None or weight is None:
        return False
    columns = weight.shape[0 if number(node, "transB", 0) else 1]
    if bias.shape == (columns,) or bias.size not in (1, columns) or bias.shape[:-1] not in ((), (1,)):
        return False
    row = np.array(np.broadcast_to(bias.reshape(-1), columns))
    node.replace_input_with(2, add_constant(graph, f"{value.name}_row", row))
    drop_unused(graph, value)
    return True
