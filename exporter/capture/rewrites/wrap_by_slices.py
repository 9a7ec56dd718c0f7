"""Write a Pad that wraps around as what it joins: the end, the whole and the beginning.

OpenVINO 2026.4.1 has no such mode (torch's `circular`). Where more may be added than an axis holds, which torch refuses
and ONNX allows, the places are gathered one by one.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from ...graphs.values import add_constant, constant, everywhere, owner, replace, sliced

if TYPE_CHECKING:
    import onnx_ir as ir

# The end of an axis of any size.
_ALL = np.iinfo(np.int64).max


def wrap_by_slices(model: ir.Model) -> int:
    """Rewrite in place every such Pad whose sizes are known and add; returns how many there were."""
    return sum(_rewrite(owner(node), node) for node in everywhere(model, "Pad"))


def _rewrite(graph: ir.Graph, node: ir.Node) -> bool:
    import onnx_ir as ir

    mode, value, sizes = node.attributes.get("mode"), node.inputs[0], constant(node.inputs[1])
    if mode is None or mode.as_string() != "wrap" or value is None or sizes is None or (sizes < 0).any():
        return False
    if not sizes.any():  # as of a convolution whose kernel is one place
        replace(graph, node, [ir.node("Identity", [value])])
        return True
    around, given = _around(node, sizes), value
    if not around:
        return False
    new: list[ir.Node] = []
    for axis, start, end in around:
        size = None if given.shape is None else given.shape[axis]
        known = size if isinstance(size, int) else None
        joined = max(start, end) <= (known or 1)
        new += (_joined if joined else _gathered)(graph, value, axis, start, end, known)
        value = new[-1].outputs[0]
    replace(graph, node, new)
    return True


def _joined(graph: ir.Graph, value: ir.Value, axis: int, start: int, end: int, size: int | None) -> list[ir.Node]:
    """Slices around the whole."""
    import onnx_ir as ir

    before = [sliced(graph, value, axis, -start, _ALL)] if start else []
    behind = [sliced(graph, value, axis, 0, end)] if end else []
    parts = [*(node.outputs[0] for node in before), value, *(node.outputs[0] for node in behind)]
    return [*before, *behind, ir.node("Concat", parts, {"axis": axis})]


def _gathered(graph: ir.Graph, value: ir.Value, axis: int, start: int, end: int, size: int | None) -> list[ir.Node]:
    """Place i of the result is place (i - start) modulo the size, which is counted when it runs where it is free."""
    import onnx_ir as ir

    def number(name: str, at: object) -> ir.Value:
        return add_constant(graph, f"{value.name or 'wrapped'}_{name}", np.array(at, np.int64))

    if size is not None:
        places = number("places", np.arange(-start, size + end) % size)
        return [ir.node("Gather", [value, places], {"axis": axis})]
    shape = ir.node("Shape", [value])
    count = ir.node("Gather", [shape.outputs[0], number("axis", axis)])
    last = ir.node("Add", [count.outputs[0], number("behind", end)])
    index = ir.node("Range", [number("first", -start), last.outputs[0], number("step", 1)])
    # ONNX's Mod has the sign of what it divides by.
    place = ir.node("Mod", [index.outputs[0], count.outputs[0]])
    return [shape, count, last, index, place, ir.node("Gather", [value, place.outputs[0]], {"axis": axis})]


def _around(node: ir.Node, sizes: np.ndarray[tuple[int, ...], np.dtype[np.int64]]) -> list[tuple[int, int, int]]:
    """Each axis that grows, with what it gets before it and behind it; empty where the axes are not known."""
    given = node.inputs[3] if len(node.inputs) > 3 else None
    axes = np.arange(sizes.size // 2) if given is None else constant(given)
    if axes is None:
        return []
    both = zip(axes.tolist(), sizes[: len(axes)].tolist(), sizes[len(axes) :].tolist(), strict=True)
    return [(axis, start, end) for axis, start, end in both if start or end]
