"""Fold a batch normalization into the linear layer before it, where a Reshape of rows stands between them.

A LeViT normalizes the features of all tokens as one batch of rows, which no other pass folds. OpenVINO 2026.4.1 moves
the scales before the Reshape and takes the wrong axis there (6 dB where the layer is int8).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from ...graphs.values import add_constant, constant, drop_unused, number

if TYPE_CHECKING:
    import onnx_ir as ir

_Array = npt.NDArray[Any]


def norm_to_linear(model: ir.Model) -> int:
    """Rewrite in place every MatMul, Reshape, BatchNormalization over the MatMul's columns; returns how many."""
    norms = [node for node in model.graph if node.domain == "" and node.op_type == "BatchNormalization"]
    found = [(norm, linear) for norm in norms if (linear := _linear(norm)) is not None]
    for norm, linear in found:
        _fold(model.graph, norm, linear)
    return len(found)


def _linear(norm: ir.Node) -> ir.Node | None:
    """The MatMul whose columns are what the norm scales; None where another shape or reader is between."""
    reshape = _maker(norm.inputs[0], "Reshape")
    linear = None if reshape is None else _maker(reshape.inputs[0], "MatMul")
    if reshape is None or linear is None or any(constant(value) is None for value in norm.inputs[1:]):
        return None
    weight, rows = constant(linear.inputs[1]), reshape.outputs[0].shape
    if weight is None or weight.ndim != 2 or rows is None or rows.rank() != 2 or number(norm, "training_mode", 0):
        return None
    return linear if rows[1] == weight.shape[1] else None


def _maker(value: ir.Value | None, operator: str) -> ir.Node | None:
    """The node of that operator that makes the value for one reader only, beside those who ask its shape alone."""
    maker = None if value is None else value.producer()
    if maker is None or value is None or maker.op_type != operator or value.is_graph_output():
        return None
    readers = [use.node for use in value.uses() if use.node.op_type != "Shape"]
    return maker if len(readers) == 1 else None


def _fold(graph: ir.Graph, norm: ir.Node, linear: ir.Node) -> None:
    import onnx_ir as ir

    product, reshaped, result = linear.outputs[0], norm.inputs[0], norm.outputs[0]
    assert reshaped is not None
    weight, shift = _scaled(norm, linear)
    old = linear.inputs[1]
    linear.replace_input_with(1, add_constant(graph, f"{product.name}_weight", weight))
    add = ir.node("Add", [product, add_constant(graph, f"{product.name}_bias", shift)], name=f"{norm.name}/Add")
    total = add.outputs[0]
    total.name, total.type, total.shape = f"{product.name}_normed", product.type, product.shape
    ir.convenience.replace_all_uses_with(product, total)
    add.replace_input_with(0, product)
    graph.insert_after(linear, add)
    name = result.name
    ir.convenience.replace_nodes_and_values(graph, norm, [norm], [], [result], [reshaped])
    reshaped.name = name
    if old is not None:
        drop_unused(graph, old)


def _scaled(norm: ir.Node, linear: ir.Node) -> tuple[_Array, _Array]:
    """The layer's weight and bias with the norm's scales in them."""
    weight, scale, bias, mean, variance = (constant(value) for value in (linear.inputs[1], *norm.inputs[1:]))
    assert weight is not None and scale is not None and bias is not None and mean is not None and variance is not None
    factor = scale.astype(np.float64) / np.sqrt(variance.astype(np.float64) + number(norm, "epsilon", 1e-5))
    return (weight * factor).astype(weight.dtype), (bias - mean * factor).astype(weight.dtype)
