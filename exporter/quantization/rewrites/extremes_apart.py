"""Keep reductions to the largest or smallest value apart from the quantization behind them.

OpenVINO 2026.4.1 lets such a reduction write integers of 8 bits, and keeps what it has found so far in them before the
scale is applied: 1.8 counts as 2, and everything below 0 as 0 (docs/decisions/0069-extremes-on-openvino.md). What lies
between must be an operator that is neither fused with the reduction nor taken away: a running sum along an axis of one
element, which is that element.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from ...graphs.values import add_constant, constant, number, take_over
from .scales_in_place import FUSED

if TYPE_CHECKING:
    import onnx_ir as ir

# A quantization is moved in front of these.
_MOVING = frozenset({"Concat", "Flatten", "Identity", "Reshape", "Squeeze", "Transpose", "Unsqueeze"})
# Of a matrix whose axis is dropped the kernel needs one turn, and keeps nothing.
_RIGHT = 2
# Over these axes it reduces whatever an attribute says.
_SPATIAL = 2


def extremes_apart(graph: ir.Graph, operators: Collection[str]) -> int:
    """Rewrite in place; returns how many are apart.

    Args:
        graph: with Q/DQ inserted.
        operators: of `ReduceMax`, `ReduceMin` and `GlobalMaxPool`.
    """
    found = quantized_extremes(graph, operators)
    for node in found:
        _rewrite(graph, node)
    return len(found)


def quantized_extremes(graph: ir.Graph, operators: Collection[str]) -> list[ir.Node]:
    """Those of these whose result is quantized, and that read floats; a matrix only where they keep its axes."""
    nodes = [node for node in graph if node.domain == "" and node.op_type in operators]
    return [node for node in nodes if _of_floats(node) and _axis(node) is not None and _quantized(node.outputs[0])]


def _of_floats(node: ir.Node) -> bool:
    """Integers are reduced as integers, which is right."""
    value = node.inputs[0]
    assert value is not None
    maker = value.producer()
    known = None if value.shape is None else value.shape.rank()
    one_turn = known is not None and (known < _RIGHT or (known == _RIGHT and not number(node, "keepdims", 1)))
    return not one_turn and (maker is None or maker.op_type != "DequantizeLinear")


def _axis(node: ir.Node) -> int | None:
    """One that has a single element behind it, where axes are kept; None where that is not known."""
    if node.op_type == "GlobalMaxPool":
        return _SPATIAL
    axes = _axes(node)
    return None if axes is None or not axes.size else int(axes.flat[0])


def _axes(node: ir.Node) -> npt.NDArray[np.int64] | None:
    if "axes" in node.attributes:
        return np.asarray(node.attributes["axes"].value, np.int64)
    return constant(node.inputs[1]) if len(node.inputs) > 1 else None


def _quantized(value: ir.Value) -> bool:
    """Whether a QuantizeLinear is reached through what is fused, or what it is moved in front of."""
    todo, seen = [use.node for use in value.uses()], set()
    while todo:
        node = todo.pop()
        if node.op_type == "QuantizeLinear":
            return True
        if node not in seen and node.op_type in FUSED | _MOVING:
            seen.add(node)
            todo.extend(use.node for use in node.outputs[0].uses())
    return False


def _rewrite(graph: ir.Graph, node: ir.Node) -> None:
    """The node keeps its axes, a sum is behind it, and a Squeeze where it dropped them."""
    import onnx_ir as ir

    old, axis = node.outputs[0], _axis(node)
    place = add_constant(graph, f"{old.name}_axis", np.array(axis, np.int64))
    new = [ir.node("CumSum", [old, place], name=f"{node.name}/CumSum")]
    if node.op_type != "GlobalMaxPool" and not number(node, "keepdims", 1):
        dropped = add_constant(graph, f"{old.name}_axes", np.asarray(_axes(node), np.int64).reshape(-1))
        new.append(ir.node("Squeeze", [new[0].outputs[0], dropped], name=f"{node.name}/Squeeze"))
        new[0].outputs[0].name, new[0].outputs[0].type = f"{old.name}_summed", old.type
        node.attributes["keepdims"] = ir.AttrInt64("keepdims", 1)
    take_over(graph, old, f"{old.name}_extreme", node, new)
