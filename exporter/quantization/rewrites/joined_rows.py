"""Keep a quantization behind rows that are joined.

OpenVINO 2026.4.1 moves a quantization before a Concat along axis 1 into each of what is joined, and makes of its zero
point one a row. A MatMul behind it, as of tokens with one of a class in front, cannot take that, and the file does not
open. It is not moved through a Max, of all that is more than the least of float32, which changes nothing; a Clip, a
Transpose and a Mul by a number do not hold it
(docs/decisions/0101-a-quantization-behind-joined-rows.md).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from ...graphs.values import add_constant

if TYPE_CHECKING:
    import onnx_ir as ir

_PASSED = frozenset({"Clip", "Identity", "Relu", "Reshape", "Squeeze", "Transpose", "Unsqueeze"})
_ROWS = 3


def joined_rows(graph: ir.Graph) -> int:
    """Rewrite in place; returns how many quantizations have a Max before them.

    Args:
        graph: with Q/DQ inserted.
    """
    import onnx_ir as ir

    found = [node for node in graph if node.op_type == "QuantizeLinear" and _joined(node.inputs[0]) and _is_read(node)]
    least = add_constant(graph, "float32_lowest", np.array(np.finfo(np.float32).min)) if found else None
    for node in found:
        value = node.inputs[0]
        assert value is not None
        kept = ir.node("Max", [value, least], name=f"{node.name}/Max")
        kept.outputs[0].name, kept.outputs[0].type = f"{node.outputs[0].name}_joined", value.type
        kept.outputs[0].shape = value.shape
        node.replace_input_with(0, kept.outputs[0])
        graph.insert_before(node, kept)
    return len(found)


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
