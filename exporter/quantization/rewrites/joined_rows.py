"""Keep a quantization behind rows that are joined.

OpenVINO 2026.4.1 moves a quantization before a Concat along axis 1 into each of what is joined, and makes of its zero
point one a row. A MatMul behind it, as of tokens with one of a class in front, cannot take that, and the file does not
open. It is not moved through a Max, of all that is more than the least of float32, which changes nothing; a Clip, a
Transpose and a Mul by a number do not hold it
(docs/decisions/0101-a-quantization-behind-joined-rows.md).

What is joined may have been quantized before, with one scale for all of it, and a MatMul read it as it is, behind a
Transpose where columns were joined: then the scales behind the Concat are one a row as well, and it is quantized again
with the same scale, behind such a Max. That changes no number (0118-scales-behind-a-maximum.md).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from ...graphs.values import add_constant, constant

if TYPE_CHECKING:
    import onnx_ir as ir

_PASSED = frozenset({"Clip", "Identity", "Relu", "Reshape", "Squeeze", "Transpose", "Unsqueeze"})
_ROWS = 3
_LEAST = "float32_lowest"


def joined_rows(graph: ir.Graph) -> int:
    """Rewrite in place; returns how many quantizations have a Max before them.

    Args:
        graph: with Q/DQ inserted.
    """
    found = [node for node in graph if node.op_type == "QuantizeLinear" and _joined(node.inputs[0]) and _is_read(node)]
    found += [_quantized_again(graph, node, scaled) for node, scaled in _read_plainly(graph)]
    for node in found:
        _keep_behind(graph, node)
    return len(found)


def _keep_behind(graph: ir.Graph, quantization: ir.Node) -> None:
    import onnx_ir as ir

    value = quantization.inputs[0]
    assert value is not None
    least = graph.initializers.get(_LEAST) or add_constant(graph, _LEAST, np.array(np.finfo(np.float32).min))
    kept = ir.node("Max", [value, least], name=f"{quantization.name}/Max")
    kept.outputs[0].name, kept.outputs[0].type = f"{quantization.outputs[0].name}_joined", value.type
    kept.outputs[0].shape = value.shape
    quantization.replace_input_with(0, kept.outputs[0])
    graph.insert_before(quantization, kept)


def _joined(value: ir.Value | None) -> bool:
    """Whether a Concat of rows makes it, or what changes neither numbers nor more than signs does behind one."""
    maker = None if value is None else value.producer()
    if maker is None or maker.op_type not in _PASSED | {"Concat"}:
        return False
    if maker.op_type != "Concat":
        return _joined(maker.inputs[0])
    shape = maker.outputs[0].shape
    return shape is not None and shape.rank() >= _ROWS and maker.attributes["axis"].as_int() % shape.rank() == 1


def _is_read(quantization: ir.Node) -> bool:
    """Whether a product of matrices reads what is dequantized of it."""
    readers = [again for node in quantization.outputs[0].consumers() for again in node.outputs[0].consumers()]
    return any(node.op_type in ("Gemm", "MatMul") for node in readers)


def _read_plainly(graph: ir.Graph) -> list[tuple[ir.Node, ir.Node]]:
    """Products of joined rows that are not quantized behind the Concat, each with what dequantizes all of them."""
    products = [node for node in graph if node.op_type in ("Gemm", "MatMul")]
    pairs = [(node, _scaled(node.inputs[0])) for node in products]
    return [(node, scaled) for node, scaled in pairs if scaled is not None]


def _scaled(value: ir.Value | None) -> ir.Node | None:
    """What dequantizes all that is joined to the value, of three axes or more, on another than its last one."""
    order: list[int] | None = None
    while value is not None and (maker := value.producer()) is not None and maker.op_type == "Transpose":
        axes = list(maker.attributes["perm"].as_ints()) if "perm" in maker.attributes else None
        if axes is None:
            return None
        order = axes if order is None else [axes[axis] for axis in order]
        value = maker.inputs[0]
    joint = None if value is None else value.producer()
    if joint is None or joint.op_type != "Concat" or (shape := joint.outputs[0].shape) is None:
        return None
    rank, axis = shape.rank(), joint.attributes["axis"].as_int() % shape.rank()
    if rank < _ROWS or (order[-1] if order else rank - 1) == axis:
        return None
    makers = [_dequantized(one) for one in joint.inputs]
    first = makers[0]
    return first if first is not None and all(one is not None and _alike(one, first) for one in makers) else None


def _dequantized(value: ir.Value | None) -> ir.Node | None:
    maker = None if value is None else value.producer()
    if maker is None or maker.op_type == "DequantizeLinear":
        return maker
    return _dequantized(maker.inputs[0]) if maker.op_type == "Slice" else None


def _alike(one: ir.Node, other: ir.Node) -> bool:
    """Whether the two have the same scale and zero point."""
    pairs = zip(one.inputs[1:], other.inputs[1:], strict=True)
    return one is other or all(a is b or _equal(constant(a), constant(b)) for a, b in pairs)


def _equal(one: npt.NDArray[Any] | None, other: npt.NDArray[Any] | None) -> bool:
    return one is not None and other is not None and np.array_equal(one, other)


def _quantized_again(graph: ir.Graph, product: ir.Node, scaled: ir.Node) -> ir.Node:
    import onnx_ir as ir

    value = product.inputs[0]
    assert value is not None
    name = f"{value.name}_of_{product.name}"
    quantized = ir.node("QuantizeLinear", [value, *scaled.inputs[1:]], name=f"{name}_QuantizeLinear")
    quantized.outputs[0].name = f"{name}_quantized"
    back = ir.node("DequantizeLinear", [quantized.outputs[0], *scaled.inputs[1:]], name=f"{name}_DequantizeLinear")
    back.outputs[0].name, back.outputs[0].type, back.outputs[0].shape = f"{name}_dequantized", value.type, value.shape
    source = scaled.inputs[0]
    assert source is not None
    quantized.outputs[0].type, quantized.outputs[0].shape = source.type, value.shape
    graph.insert_before(product, [quantized, back])
    product.replace_input_with(0, back.outputs[0])
    return quantized
