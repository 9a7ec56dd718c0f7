"""Write what a ConvTranspose pads as pads, where a file asks for an output's size or for SAME instead.

OpenVINO 2026.4.1 computes such a one in float32, and in integers gives another size, or other values at the same size
(9x7 by a stride of 2: 19x9 in place of 18x8; an `output_shape`: -3 dB). Converters of TensorFlow and Keras write them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ...graphs.values import constant, everywhere, integers

if TYPE_CHECKING:
    import onnx_ir as ir


def explicit_pads(model: ir.Model) -> int:
    """Give in place every ConvTranspose its pads, where they are known; returns how many there were."""
    import onnx_ir as ir

    found = 0
    for node in everywhere(model, "ConvTranspose"):
        pads = _pads(node)
        if pads is None:
            continue
        node.attributes.pop("auto_pad", None)
        node.attributes.pop("output_shape", None)
        node.attributes["pads"] = ir.AttrInt64s("pads", pads)
        found += 1
    return found


def _pads(node: ir.Node) -> list[int] | None:
    """Of the start and of the end of each axis (ONNX ConvTranspose, `auto_pad`); None where they are as they are."""
    weight = constant(node.inputs[1])
    way, shape = _text(node, "auto_pad"), node.attributes.get("output_shape")
    if weight is None or (way == "NOTSET" and shape is None):
        return None
    axes = weight.ndim - 2
    if way == "VALID" and shape is None:
        return [0] * (2 * axes)
    strides, dilations = (integers(node, name, [1] * axes) for name in ("strides", "dilations"))
    more = integers(node, "output_padding", [0] * axes)
    reach = [(kernel - 1) * each + 1 for kernel, each in zip(weight.shape[2:], dilations, strict=True)]
    if shape is None:
        totals = [r + m - stride for r, m, stride in zip(reach, more, strides, strict=True)]
    else:
        sizes = _sizes(node.inputs[0], axes)
        if sizes is None:
            return None
        wanted = [int(size) for size in shape.as_ints()][-axes:]
        totals = [
            stride * (size - 1) + m + r - out
            for stride, size, m, r, out in zip(strides, sizes, more, reach, wanted, strict=True)
        ]
    if min(totals) < 0:
        return None
    less, rest = [total // 2 for total in totals], [total - total // 2 for total in totals]
    return [*less, *rest] if way == "SAME_UPPER" else [*rest, *less]


def _sizes(value: ir.Value | None, axes: int) -> list[int] | None:
    if value is None or value.shape is None:
        return None
    known = [size for size in list(value.shape)[-axes:] if isinstance(size, int)]
    return known if len(known) == axes else None


def _text(node: ir.Node, name: str) -> str:
    attribute = node.attributes.get(name)
    return "NOTSET" if attribute is None else attribute.as_string() or "NOTSET"
