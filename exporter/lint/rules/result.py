"""Quantized operators that stay float for what becomes of their result."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import TYPE_CHECKING

from ....profiles.device.target import Scheme
from ...graphs.values import constant, number, single_consumer
from ..examined import Examined, found_at
from ..finding import Finding
from ..qdq import Qdq, in_integers, quantizers_of

if TYPE_CHECKING:
    import onnx_ir as ir

# Of the range of an activation, since bounds and scales are float32.
_TOLERANCE = 1e-3


def find(examined: Examined) -> Iterator[Finding]:
    """Operators that run in integers only if a QuantizeLinear follows, at most one fused activation between.

    The activation vanishes only where all integers lie in its range: behind a Relu the zero point is the least one.
    """
    scheme = examined.target.scheme
    if scheme is None or not scheme.result_needed:
        return
    of = {one.node: one for one in examined.qdq}
    for node in examined.model.graph.all_nodes():
        if node.op_type in scheme.outputs and in_integers(node) and (why := _why(node, scheme, of)):
            said, remedy = why
            yield found_at(node, "warning", f"{said}: it runs in float there", remedy=remedy, source=scheme.source)


def _why(node: ir.Node, scheme: Scheme, of: dict[ir.Node, Qdq]) -> tuple[str, str] | None:
    result = node.outputs[0]
    if quantizers_of(result):
        return None
    reader = single_consumer(result)
    if reader is None or reader.op_type not in scheme.fused or not (found := quantizers_of(reader.outputs[0])):
        return "its result is not quantized", "Quantize the result, behind its activation where it has one."
    low, high = _range(reader)
    if low is None or high is None or _inside(of[found[0]], low, high):
        return None
    said = f"{reader.op_type} between it and its quantization is not fused, as the integers reach beyond its range"
    return said, "Choose scale and zero point so that every integer lies in its range: behind Relu the least one."


def _range(node: ir.Node) -> tuple[float | None, float | None]:
    """What an activation gives at least and at most; None where it is computed, or not known here."""
    if node.op_type == "Relu":
        return 0.0, math.inf
    if node.op_type != "Clip":
        return None, None
    return _bound(node, 1, "min", -math.inf), _bound(node, 2, "max", math.inf)


def _bound(node: ir.Node, index: int, name: str, default: float) -> float | None:
    given = node.inputs[index] if len(node.inputs) > index else None
    if given is None:
        return number(node, name, default)
    array = constant(given)
    return float(array.flat[0]) if array is not None and array.size == 1 else None  # some write [6.0] for 6.0


def _inside(one: Qdq, low: float, high: float) -> bool:
    limits = one.limits
    if one.scale is None or one.zero is None or one.axis is not None or limits is None or one.unusable is not None:
        return True
    zero, scale = int(one.zero.flat[0]), float(one.scale.flat[0])
    least, most = ((limit - zero) * scale for limit in limits)
    room = _TOLERANCE * (most - least)
    return least >= low - room and most <= high + room
