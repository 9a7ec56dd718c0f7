"""Weights that a file stores in integers and computes with in floats, as the floats that they are."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from .values import add_constant, constant, drop_unused, number

if TYPE_CHECKING:
    import onnx_ir as ir

_UNPACKING = "DequantizeLinear"
# onnxruntime has it as an operator of its own too, for types that ONNX's did not have.
_CONTRIB = "com.microsoft"


def unpack_weights(model: ir.Model) -> int:
    """Replace each DequantizeLinear of constants by its result, in place; returns how many.

    That is no quantized model: its products are those of floats.
    """
    if any(node.op_type == _UNPACKING for node in model.graph.all_nodes()):
        _lift_constants(model)
    found = [node for graph in model.graphs() for node in graph if _unpacks(node)]
    for node in found:
        _replace(node)
    return len(found)


def _unpacks(node: ir.Node) -> bool:
    fixed = all(value is None or constant(value) is not None for value in node.inputs)
    ours = node.op_type == _UNPACKING and node.domain in ("", _CONTRIB)
    return ours and fixed and not node.outputs[0].is_graph_output()


def _lift_constants(model: ir.Model) -> None:
    """Integers may be Constant nodes as well."""
    from onnx_ir.passes import common

    common.LiftConstantsToInitializersPass(lift_all_constants=True, size_limit=0)(model)


def _replace(node: ir.Node) -> None:
    graph, old, inputs = node.graph, node.outputs[0], [value for value in node.inputs if value is not None]
    assert graph is not None
    integers, scale, zero = (constant(value) for value in (*node.inputs, None)[:3])
    assert integers is not None and scale is not None
    floats = _floats(integers, scale, zero, int(number(node, "axis", 1)), int(number(node, "block_size", 0)))
    new = add_constant(graph, f"{old.name}_unpacked", floats)
    for use in list(old.uses()):
        use.node.replace_input_with(use.idx, new)
    graph.remove(node, safe=True)
    for value in inputs:
        drop_unused(graph, value)


def _floats(
    integers: npt.NDArray[Any], scale: npt.NDArray[Any], zero: npt.NDArray[Any] | None, axis: int, block: int
) -> npt.NDArray[Any]:
    """As ONNX defines it: one scale, one for each index of an axis, or one for each block along it."""

    def along(array: npt.NDArray[Any]) -> npt.NDArray[Any]:
        if block:
            return np.repeat(array, block, axis)
        shape = [-1 if i == axis % integers.ndim else 1 for i in range(integers.ndim)]
        return array if array.size == 1 else array.reshape(shape)

    offset = 0 if zero is None else along(zero.astype(np.float32))
    floats: npt.NDArray[Any] = (integers.astype(np.float32) - offset) * along(scale.astype(np.float32))
    return floats.astype(scale.dtype)
