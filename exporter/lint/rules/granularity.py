"""Several scales where the runtime takes one, or along another axis than it takes them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from ....profiles.device.target import Scheme
from ...quantization.analysis.weight_site import channel_axis
from ..examined import Examined, found_at
from ..finding import Finding, Severity
from ..qdq import Qdq, dequantizer, stored_shape

if TYPE_CHECKING:
    import onnx_ir as ir


def find(examined: Examined) -> Iterator[Finding]:
    """Scales that are none, several of an activation, and those of a weight that follow another axis than outputs."""
    for one in examined.qdq:
        yield from _no_scale(one)
    scheme = examined.target.scheme
    if scheme is None:
        return
    severity: Severity = "error" if scheme.refuses else "warning"
    of = {one.node: one for one in examined.qdq}
    so = "no kernel takes them" if scheme.refuses else "it runs in float there"
    so = "they are taken for those of output channels, and the result is wrong" if scheme.axis_ignored else so
    for one in examined.qdq:
        yield from _scales(one, scheme, severity)
    for node in examined.model.graph.all_nodes():
        if node.op_type in scheme.weighted and (found := _off_axis(node, of)):
            axis, wanted = found
            yield found_at(
                node,
                "error" if scheme.axis_ignored else severity,
                f"the scales of its weight follow axis {axis}, and those of output channels axis {wanted}: {so}",
                remedy=f"Quantize the weight along axis {wanted}, or with one scale.",
                source=scheme.source,
            )


def _no_scale(one: Qdq) -> Iterator[Finding]:
    if one.unusable is not None and (one.first or one.own_scale):
        said = f"a scale is not above 0, or no number: {one.unusable:.3g}; nothing can be rounded with it"
        yield found_at(one.node, "error", said, remedy="Calibrate this tensor again.", source="ONNX, QuantizeLinear.")


def _scales(one: Qdq, scheme: Scheme, severity: Severity) -> Iterator[Finding]:
    if one.first and not one.stored and (one.axis is not None or one.blocked):
        several = "several" if one.scale is None else one.scale.size
        yield found_at(
            one.node,
            severity,
            f"an activation has {several} scales, and {scheme.name} takes one a tensor: "
            + ("it is rejected" if scheme.refuses else "it runs in float there"),
            remedy="Quantize activations with one scale; scales by channel are for constant weights.",
            source=scheme.source,
        )


def _off_axis(node: ir.Node, of: dict[ir.Node, Qdq]) -> tuple[int, int] | None:
    """The axis of a weight's scales and the axis they should follow; None where that is as it should be."""
    shape, dequantized = stored_shape(node), dequantizer(node.inputs[1])
    if not shape or dequantized is None:
        return None
    one, wanted = of[dequantized], channel_axis(node, 1, len(shape))
    if one.axis is None or one.blocked or wanted is None or not -len(shape) <= one.axis < len(shape):
        return None
    axis = one.axis % len(shape)
    return None if axis == wanted else (axis, wanted)
