"""Leave out the scales of a Resize to given sizes.

Up to opset 12 a file must name some, and names a tensor without elements; ONNX has left them out since. In fp16 they
are read through a Cast, behind which onnxruntime does not see that there are none, and refuses the graph.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ...graphs.values import constant, everywhere

if TYPE_CHECKING:
    import onnx_ir as ir

_SCALES, _SIZES = 2, 3


def resize_to_sizes(model: ir.Model) -> int:
    """Do so in place; returns how many there were."""
    found = [node for node in everywhere(model, "Resize") if _has_none(node)]
    for node in found:
        node.replace_input_with(_SCALES, None)
    return len(found)


def _has_none(node: ir.Node) -> bool:
    if len(node.inputs) <= _SIZES or node.inputs[_SIZES] is None:
        return False
    scales = constant(node.inputs[_SCALES])
    return scales is not None and scales.size == 0
