"""Group normalization as the operators that it is made of, which every opset and every runtime has.

Opset 21 defined GroupNormalization anew, with a scale and a bias for each channel; since 18 it had one for each group,
and that form is deprecated in its own opset. No converter brings one to the other.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from .inferred import infer_shapes
from .values import add_constant, everywhere, number, owner, replace

if TYPE_CHECKING:
    import onnx_ir as ir

OPERATOR = "GroupNormalization"
BY_CHANNEL = 21


def spell_group_norms(model: ir.Model) -> int:
    """Rewrite in place each whose number of axes is known, in bodies as well; returns how many there were."""
    if everywhere(model, OPERATOR):
        infer_shapes(model)
    by_channel = (model.opset_imports.get("") or 0) >= BY_CHANNEL
    found = [node for node in everywhere(model, OPERATOR) if _rank(node)]
    for node in found:
        replace(owner(node), node, _nodes(node, by_channel=by_channel))
    return len(found)


def _rank(node: ir.Node) -> int:
    value = node.inputs[0]
    return 0 if value is None or value.shape is None else value.shape.rank()


def _nodes(node: ir.Node, *, by_channel: bool) -> list[ir.Node]:
    """What takes its place, the last one with its result."""
    import onnx_ir as ir

    (value, scale, bias), graph = node.inputs[:3], owner(node)
    assert value is not None
    groups, name = int(number(node, "num_groups", 1)), str(node.name)
    dtype = value.dtype.numpy() if value.dtype is not None else np.float32
    parted = ir.node("Reshape", [value, add_constant(graph, f"{name}_groups", np.array([0, groups, -1]))])
    ends = [scale, bias]
    if by_channel:
        ends = [
            add_constant(graph, f"{name}_{what}", np.full(groups, number_, dtype))
            for what, number_ in (("ones", 1), ("zeros", 0))
        ]
    epsilon = ir.AttrFloat32("epsilon", number(node, "epsilon", 1e-5))
    normed = ir.node("InstanceNormalization", [parted.outputs[0], *ends], name=f"{name}_normed")
    normed.attributes.add(epsilon)
    sizes = ir.node("Shape", [value])
    back = ir.node("Reshape", [normed.outputs[0], sizes.outputs[0]], name=name)
    made = [parted, normed, sizes, back]
    if by_channel:
        column = add_constant(graph, f"{name}_column", np.array([-1, *[1] * (_rank(node) - 2)]))
        for operator, end in (("Mul", scale), ("Add", bias)):
            tall = ir.node("Reshape", [end, column])
            made += [tall, ir.node(operator, [made[-1].outputs[0], tall.outputs[0]], name=f"{name}_{operator.lower()}")]
    return made
