"""Let a reduction keep its axes, and drop them behind it, where arithmetic and a quantization follow.

OpenVINO 2026.4.1 fuses such a stretch into the reduction. Where the result has fewer axes than the operand, it takes
the constants of the wrong channels (docs/decisions/0022-openvino-reduce.md). Scales a channel of the layer before it
are such constants too, which it moves behind the reduction (0091-scales-moved-by-a-reduction.md).
"""

from __future__ import annotations

from collections.abc import Collection
from typing import TYPE_CHECKING

import numpy as np

from ...graphs.values import add_constant, number
from .scales_in_place import FUSED, is_of_layer

if TYPE_CHECKING:
    import onnx_ir as ir


# A scale a channel may be behind these as well as before.
LINEAR = frozenset({"ReduceMean", "ReduceSum"})


def keep_reduced(graph: ir.Graph, operators: Collection[str]) -> int:
    """Rewrite in place these operators; returns how many.

    Args:
        graph: with Q/DQ inserted.
        operators: reductions by ONNX operator type.
    """
    return sum(_rewrite(graph, node) for node in misfused(graph, operators))


def misfused(graph: ir.Graph, operators: Collection[str]) -> list[ir.Node]:
    """Those of these operators that would be fused with what follows, and drop axes."""
    found = [node for node in graph if node.domain == "" and node.op_type in operators and _drops_axes(node)]
    return [node for node in found if _quantized_later(node.outputs[0]) or _moves_scales(node)]


def _drops_axes(node: ir.Node) -> bool:
    return not number(node, "keepdims", 1) and (len(node.inputs) > 1 or "axes" in node.attributes)


def _moves_scales(node: ir.Node) -> bool:
    """Whether its result is quantized as it is, and its operand has the scales of a layer, which are moved behind it.

    They are behind what is linear; a Neg before it keeps them where they are.
    """
    if node.op_type not in LINEAR:
        return False
    value = node.inputs[0]
    while value is not None and (maker := value.producer()) is not None and maker.op_type == "Transpose":
        value = maker.inputs[0]
    negated = value is not None and (maker := value.producer()) is not None and maker.op_type == "Neg"
    return not negated and _is_quantized(node.outputs[0]) and is_of_layer(value)


def _is_quantized(value: ir.Value) -> bool:
    return any(use.node.op_type == "QuantizeLinear" for use in value.uses())


def _quantized_later(value: ir.Value) -> bool:
    """Whether some arithmetic on the value, and then a QuantizeLinear, follow."""
    stack, visited = [use.node for use in value.uses()], set()
    while stack:
        node = stack.pop()
        if node in visited or node.op_type not in FUSED:
            continue
        visited.add(node)
        if _is_quantized(node.outputs[0]):
            return True
        stack.extend(use.node for use in node.outputs[0].uses())
    return False


def _rewrite(graph: ir.Graph, node: ir.Node) -> bool:
    import onnx_ir as ir

    old = node.outputs[0]
    axes = node.inputs[1] if len(node.inputs) > 1 else None
    if axes is None:
        if "axes" not in node.attributes:
            return False
        axes = add_constant(graph, f"{old.name}_axes", np.asarray(node.attributes["axes"].value, np.int64))
    squeeze = ir.node("Squeeze", [old, axes], name=f"{node.name}/Squeeze")
    new = squeeze.outputs[0]
    new.type, new.shape, name = old.type, old.shape, old.name
    readers = [(use.node, use.idx) for use in old.uses() if use.node is not squeeze]
    node.attributes["keepdims"] = ir.AttrInt64("keepdims", 1)
    graph.insert_after(node, squeeze)
    for reader, index in readers:
        reader.replace_input_with(index, new)
    if old.is_graph_output():
        graph.outputs[next(i for i, output in enumerate(graph.outputs) if output is old)] = new
    old.name, old.shape, new.name = f"{name}_kept", None, name
    return True
