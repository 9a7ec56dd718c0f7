"""Write x * clip(x + 3, 0, 6) / 6 as one HardSwish.

Converters of other frameworks spell it out. onnxruntime 1.31 then runs four passes over the feature map where it has
two, and no runtime but OpenVINO sees that a convolution's activation is meant.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from ...graphs.values import constant, drop_unused, number, remove_unread, single_consumer

if TYPE_CHECKING:
    import onnx_ir as ir

SINCE = 14  # the opset that has it
_SLOPE, _MIDDLE, _HIGH = 1 / 6, 3.0, 6.0


def hard_swish(model: ir.Model) -> int:
    """Rewrite in place every such product, from opset 14 on; returns how many there were."""
    if model.opset_imports[""] < SINCE:
        return 0
    done = 0
    for node in list(model.graph):
        # What one reads another may have given until now: each is looked for in the graph as it is.
        if node.graph is not None and (match := _match(node)) is not None:
            _replace(model.graph, node, *match)
            done += 1
    return done


def spelled_out(model: ir.Model) -> bool:
    """Whether there is such a product."""
    return any(_match(node) is not None for node in model.graph)


def _match(product: ir.Node) -> tuple[ir.Value, ir.Node] | None:
    """What a product is the HardSwish of, and the node that gives it; None where it is none."""
    if not _is(product, "Mul"):
        return None
    for value, gate in (product.inputs, reversed(product.inputs)):
        if value is None or gate is None or single_consumer(gate) is not product:
            continue
        if _gates(gate, value):
            return value, product
        last = single_consumer(product.outputs[0])
        if last is not None and _is_clipped(gate, value) and _sixth(last) is product.outputs[0]:
            return value, last
    return None


def _gates(gate: ir.Value, value: ir.Value) -> bool:
    """Whether it is clip(x / 6 + 1/2, 0, 1) of the value."""
    maker = gate.producer()
    if maker is None:
        return False
    if _is(maker, "HardSigmoid"):
        shape = number(maker, "alpha", 0.2), number(maker, "beta", 0.5)
        return maker.inputs[0] is value and np.allclose(shape, (_SLOPE, 0.5), rtol=1e-6)
    clipped = _sixth(maker)
    return clipped is not None and single_consumer(clipped) is maker and _is_clipped(clipped, value)


def _sixth(node: ir.Node) -> ir.Value | None:
    """What the node gives a sixth of; None where it does something else."""
    if _is(node, "Div"):
        return node.inputs[0] if _is_number(node.inputs[1], _HIGH, node.inputs[0]) else None
    return _other(node, "Mul", _SLOPE)


def _is_clipped(gate: ir.Value, value: ir.Value) -> bool:
    """Whether it is clip(x + 3, 0, 6) of the value."""
    clip = gate.producer()
    if clip is None or not _is(clip, "Clip") or len(clip.inputs) < 3 or (shifted := clip.inputs[0]) is None:
        return False
    if not (_is_number(clip.inputs[1], 0.0, value) and _is_number(clip.inputs[2], _HIGH, value)):
        return False
    add = shifted.producer()
    return add is not None and single_consumer(shifted) is clip and _other(add, "Add", _MIDDLE) is value


def _other(node: ir.Node, operator: str, size: float) -> ir.Value | None:
    """The operand beside this number, on either side of a node of this operator."""
    if not _is(node, operator):
        return None
    for value, factor in (node.inputs, reversed(node.inputs)):
        if value is not None and _is_number(factor, size, value):
            return value
    return None


def _is(node: ir.Node, operator: str) -> bool:
    return node.domain == "" and node.op_type == operator


def _is_number(value: ir.Value | None, size: float, beside: ir.Value | None) -> bool:
    """Whether it is this float32 number, which leaves the shape of what stands beside it as it is."""
    array = constant(value)
    if array is None or array.size != 1 or array.dtype != np.float32 or beside is None:
        return False
    fits = array.ndim == 0 or (beside.shape is not None and beside.shape.rank() >= array.ndim)
    return fits and bool(np.isclose(array.item(), size, rtol=1e-6, atol=1e-7))


def _replace(graph: ir.Graph, product: ir.Node, value: ir.Value, last: ir.Node) -> None:
    import onnx_ir as ir

    result = last.outputs[0]
    node = ir.node("HardSwish", [value], name=product.name)
    new = node.outputs[0]
    new.type, new.shape, name = result.type, result.shape, result.name
    removed = [last] if last is product else [last, product]
    read = [other for each in removed for other in each.inputs if other is not None]
    ir.convenience.replace_nodes_and_values(graph, last, removed, [node], [result], [new])
    new.name = name
    for other in read:
        drop_unused(graph, other)
        remove_unread(graph, other)
