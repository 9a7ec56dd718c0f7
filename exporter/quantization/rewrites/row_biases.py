"""Write the bias that is added to a product of integers as one row, where onnxruntime would make floats of both.

Where all sizes are numbers, onnxruntime 1.31 takes a MatMul and the Add of a bias of shape (N,) as one float Gemm
before it looks for integers, and dequantizes the weight anew in each run. A bias of shape (1, N) it leaves alone.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ...graphs.values import add_constant, constant, drop_unused, single_consumer

if TYPE_CHECKING:
    import onnx_ir as ir


def row_biases(graph: ir.Graph) -> int:
    """Rewrite in place; returns how many there were.

    Args:
        graph: with Q/DQ inserted.
    """
    found = [match for node in graph if (match := _bias_add(node)) is not None]
    for add, index in found:
        bias, array = add.inputs[index], constant(add.inputs[index])
        assert bias is not None and array is not None
        add.replace_input_with(index, add_constant(graph, f"{bias.name}_row", array[None]))
        drop_unused(graph, bias)
    return len(found)


def _bias_add(product: ir.Node) -> tuple[ir.Node, int] | None:
    """The Add behind a product of integers, and which of its inputs is the bias."""
    if product.domain != "" or product.op_type != "MatMul" or not all(_dequantized(v) for v in product.inputs):
        return None
    add, shape = single_consumer(product.outputs[0]), product.outputs[0].shape
    if add is None or add.domain != "" or add.op_type != "Add" or shape is None or shape.rank() < 2:
        return None
    biases = [index for index, v in enumerate(add.inputs) if (array := constant(v)) is not None and array.ndim == 1]
    return (add, biases[0]) if len(biases) == 1 else None


def _dequantized(value: ir.Value | None) -> bool:
    maker = None if value is None else value.producer()
    return maker is not None and maker.op_type == "DequantizeLinear"
