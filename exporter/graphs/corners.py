"""Which inputs of a graph are corners of boxes: RoiAlign reads (left, top, right, bottom), and takes no others.

Where a corner lies behind its opposite, onnxruntime 1.31.1 ends with an overflow and OpenVINO 2026.4.1 gives NaN.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from ...backends.base import Array
from .files import read_model
from .rising import with_corners
from .values import constant

if TYPE_CHECKING:
    import onnx_ir as ir

# Which input of an operator holds the boxes.
_READS = {"RoiAlign": 1}
_WIDTH = 4
_SAME = frozenset({"Identity", "Cast"})


def with_corners_in_order(path: Path, example: Mapping[str, Array]) -> dict[str, Array]:
    """The made-up inputs of an ONNX file, whose boxes have their corners in order."""
    found = dict(example)
    for name, left in _boxes(path):
        if name in found and found[name].shape[-1] >= left + _WIDTH:
            found[name] = with_corners(found[name], left)
    return found


def _boxes(path: Path) -> list[tuple[str, int]]:
    """Inputs that hold boxes, and the column at which these begin."""
    nodes = [node for node in read_model(path).graph if node.op_type in _READS]
    found = (_came_from(node.inputs[_READS[node.op_type]]) for node in nodes)
    return [one for one in found if one is not None]


def _came_from(value: ir.Value | None) -> tuple[str, int] | None:
    """The input that a value is moved from, and the column that it begins at; None where it is computed."""
    left = 0
    while value is not None and not value.is_graph_input():
        node = value.producer()
        if node is None or not (node.op_type in _SAME or node.op_type == "Slice"):
            return None
        if node.op_type == "Slice":
            starts, axes = (constant(one) for one in (node.inputs[1], node.inputs[3] if len(node.inputs) > 3 else None))
            if starts is None or axes is None or axes.tolist() not in ([1], [-1]) or int(starts[0]) < 0:
                return None
            left += int(starts[0])
        value = node.inputs[0]
    return None if value is None else (str(value.name), left)
