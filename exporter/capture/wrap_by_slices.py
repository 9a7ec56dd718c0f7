"""Write a Pad that wraps around as what it joins: the end, the whole and the beginning.

OpenVINO 2026.4.1 has no such mode (torch's `circular`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from ..graphs.values import constant, replace, sliced

if TYPE_CHECKING:
    import onnx_ir as ir

# The end of an axis of any size.
_ALL = np.iinfo(np.int64).max


def wrap_by_slices(model: ir.Model) -> int:
    """Rewrite in place every such Pad whose sizes are known and add; returns how many there were."""
    pads = [node for node in model.graph if node.domain == "" and node.op_type == "Pad"]
    return sum(_rewrite(model.graph, node) for node in pads)


def _rewrite(graph: ir.Graph, node: ir.Node) -> bool:
    import onnx_ir as ir

    mode, value, sizes = node.attributes.get("mode"), node.inputs[0], constant(node.inputs[1])
    if mode is None or mode.as_string() != "wrap" or value is None or sizes is None or (sizes < 0).any():
        return False
    around = _around(node, sizes)
    if not around or _goes_round_twice(value, around):
        return False
    new: list[ir.Node] = []
    for axis, start, end in around:
        parts = [value]
        if start:
            new.append(sliced(graph, value, axis, -start, _ALL))
            parts.insert(0, new[-1].outputs[0])
        if end:
            new.append(sliced(graph, value, axis, 0, end))
            parts.append(new[-1].outputs[0])
        new.append(ir.node("Concat", parts, {"axis": axis}))
        value = new[-1].outputs[0]
    replace(graph, node, new)
    return True


def _around(node: ir.Node, sizes: np.ndarray[tuple[int, ...], np.dtype[np.int64]]) -> list[tuple[int, int, int]]:
    """Each axis that grows, with what it gets before it and behind it; empty where the axes are not known."""
    given = node.inputs[3] if len(node.inputs) > 3 else None
    axes = np.arange(sizes.size // 2) if given is None else constant(given)
    if axes is None:
        return []
    both = zip(axes.tolist(), sizes[: len(axes)].tolist(), sizes[len(axes) :].tolist(), strict=True)
    return [(axis, start, end) for axis, start, end in both if start or end]


def _goes_round_twice(value: ir.Value, around: list[tuple[int, int, int]]) -> bool:
    """Whether more is added than an axis of known size holds, which torch refuses and ONNX allows."""
    known = [] if value.shape is None else [(value.shape[axis], max(added)) for axis, *added in around]
    return any(isinstance(size, int) and most > size for size, most in known)
