"""Operators whose inputs and result must share one scale, and do not."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from ...graphs.values import constant
from ..examined import Examined, found_at
from ..finding import Finding
from ..qdq import dequantizer, quantizers_of

if TYPE_CHECKING:
    import onnx_ir as ir


def find(examined: Examined) -> Iterator[Finding]:
    """Concat, say, between Q/DQ nodes of several scales: each input is rounded once more, or it runs in float.

    A runtime that carries integers over it has no pair of nodes behind it, and what reads it is float then.
    """
    scheme = examined.target.scheme
    if scheme is None:
        return
    for node in examined.model.graph.all_nodes():
        if node.op_type not in scheme.shared:
            continue
        around = [dequantizer(value) for value in node.inputs]
        behind = quantizers_of(node.outputs[0])
        if not all(around) or not (behind or scheme.carried):
            continue
        scales = {_rounding(one) for one in (*around, *behind[:1]) if one is not None}
        if len(scales) > 1 and None not in scales:
            yield found_at(
                node,
                "warning",
                f"its inputs, or they and its result, are rounded in {len(scales)} ways: they are rounded once more, "
                "or it or what reads it is computed in float",
                remedy="Give the inputs and the result one scale and one zero point.",
                source=scheme.source,
            )


def _rounding(node: ir.Node) -> bytes | None:
    """Scale and zero point, to compare, of which an omitted one is 0; None where they are computed."""
    scale, *offset = (constant(value) for value in node.inputs[1:3])
    told = b"".join(zero.tobytes() for zero in offset if zero is not None and zero.any())
    return None if scale is None else scale.tobytes() + told
