"""Do not let an AveragePool without pads count them.

torch counts pads by default and says so where there are none. With `ceil_mode` onnxruntime 1.31.1's integer kernel then
divides by what lies beyond the border too, which its float kernel does not (an EfficientNet's last pool: next to 0).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..graphs.values import number

if TYPE_CHECKING:
    import onnx_ir as ir


def count_no_pad(model: ir.Model) -> int:
    """Drop in place `count_include_pad` of every AveragePool that has no pads; returns how many there were."""
    pools = [node for node in model.graph if node.domain == "" and node.op_type == "AveragePool"]
    found = [node for node in pools if number(node, "count_include_pad", 0) and _pads_nothing(node)]
    for node in found:
        del node.attributes["count_include_pad"]
    return len(found)


def _pads_nothing(node: ir.Node) -> bool:
    automatic, pads = node.attributes.get("auto_pad"), node.attributes.get("pads")
    return (automatic is None or automatic.value == "NOTSET") and (pads is None or not any(pads.value))
