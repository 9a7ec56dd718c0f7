"""Leave out a Reshape that gives back what was there, directly before it or before other Reshapes.

torch writes a norm over rows as two, and once that norm is part of the layer before (`norm_to_linear`) nothing is
left between them. OpenVINO 2026.4.1 moves the scales of an int8 layer through them one by one, and does not open the
file where the second one's sizes do not fit a constant that has no batch (`ReshapeTransformation`, levit_128s).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import onnx_ir as ir


def drop_reshapes(model: ir.Model) -> int:
    """Read in place what was there instead; returns how often."""
    from onnx_ir.passes import common

    found = 0
    for node in [node for node in model.graph if _is_reshape(node)]:
        if (before := _given_back(node)) is not None:
            _read_instead(node.outputs[0], before)
            found += 1
    if found:
        common.RemoveUnusedNodesPass()(model)
    return found


def _is_reshape(node: ir.Node) -> bool:
    return node.domain == "" and node.op_type == "Reshape"


def _given_back(node: ir.Node) -> ir.Value | None:
    """The first value before it, through Reshapes alone, that has the shape it gives; None where there is none."""
    result, value, found = node.outputs[0], node.inputs[0], None
    asked = _shape_of(node.inputs[1])
    while value is not None:
        if (value is asked or _alike(value.shape, result.shape)) and _may_take_over(value, result):
            found = value
        maker = value.producer()
        value = maker.inputs[0] if maker is not None and _is_reshape(maker) else None
    return found


def _shape_of(sizes: ir.Value | None) -> ir.Value | None:
    """The value whose whole shape these sizes are; None for others."""
    maker = None if sizes is None else sizes.producer()
    return maker.inputs[0] if maker is not None and maker.op_type == "Shape" and not maker.attributes else None


def _may_take_over(value: ir.Value, result: ir.Value) -> bool:
    """What leaves the graph has a name to keep, which only another node's result can have instead of its own."""
    return not result.is_graph_output() or (value.producer() is not None and not value.is_graph_output())


def _alike(shape: ir.Shape | None, other: ir.Shape | None) -> bool:
    """Whether two shapes of as many elements are one: with all sizes but one free one alike, that one is as well."""
    if shape is None or other is None or shape.rank() != other.rank():
        return False
    unequal = [(a, b) for a, b in zip(shape, other, strict=True) if not _equal(a, b)]
    return not unequal or (len(unequal) == 1 and not any(isinstance(size, int) for size in unequal[0]))


def _equal(a: object, b: object) -> bool:
    """Two numbers above 0, or two free sizes of one name."""
    if isinstance(a, int) or isinstance(b, int):
        return a == b and a != 0
    named = getattr(a, "value", None)
    return named is not None and named == getattr(b, "value", None)


def _read_instead(result: ir.Value, before: ir.Value) -> None:
    name, leaves = result.name, result.is_graph_output()
    result.replace_all_uses_with(before, replace_graph_outputs=True)
    if leaves:  # under its name, with the sizes that were declared
        result.name, before.name = before.name, name
        before.shape, before.type = result.shape or before.shape, result.type or before.type
