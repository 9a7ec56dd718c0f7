"""QuantizeLinear and DequantizeLinear nodes that contradict themselves or each other, whatever the target."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from ..examined import Examined, found_at, label
from ..finding import Finding
from ..qdq import DEQUANTIZE, QUANTIZE, Qdq, quantizer_of

if TYPE_CHECKING:
    import onnx_ir as ir

SOURCE = "ONNX, QuantizeLinear and DequantizeLinear."
_AGAIN = "Quantize the model again, or mend the file."
# Of what reads integers as such: the operators of ONNX in integers are called so.
_IN_INTEGERS = ("QLinear", "Integer")
_MOVES = frozenset(
    {
        *("Concat", "DepthToSpace", "Expand", "Flatten", "Gather", "Identity", "MaxPool", "Pad", "Reshape", "Resize"),
        *("Slice", "SpaceToDepth", "Split", "Squeeze", "Tile", "Transpose", "Unsqueeze", "Where"),
    }
)


def find(examined: Examined) -> Iterator[Finding]:
    """One finding a node: its own scales and zero points, then what the other of the pair makes of them."""
    of = {one.node: one for one in examined.qdq}
    for one in examined.qdq:
        quantizer = quantizer_of(one.node)
        first = None if quantizer is None else of.get(quantizer)
        if said := _counts(one) or _bias(one) or _other_type(one, first):
            if one.first or one.own_scale or one.own_zero:
                yield found_at(one.node, "error", said, remedy=_AGAIN, source=SOURCE)
        elif said := _other_numbers(one, first) or _read_as_numbers(one.node):
            remedy = "Put a DequantizeLinear with the same scale and zero point behind it."
            yield found_at(one.node, "warning", said, remedy=remedy, source=SOURCE)


def _counts(one: Qdq) -> str:
    """Scales and zero points must be as many, one for all or one for each index of an axis that is there."""
    if one.scale is None:
        return ""
    if one.zero is not None and one.zeros_given and one.zero.size != one.scale.size:
        return f"it has {one.scale.size} scales and {one.zero.size} zero points"
    data = one.node.inputs[0]
    if one.axis is None or one.blocked or data is None or data.shape is None:
        return ""
    shape = tuple(data.shape)
    if not -len(shape) <= one.axis < len(shape):
        return f"its scales follow axis {one.axis} of a tensor that has {len(shape)}"
    size = shape[one.axis]
    if isinstance(size, int) and size != one.scale.size:
        return f"it has {one.scale.size} scales for the {size} indices of axis {one.axis}"
    return ""


def _bias(one: Qdq) -> str:
    if one.dtype == "int32" and not one.symmetric:
        return "it dequantizes int32 with a zero point, of which there is none for int32"
    return ""


def _other_type(one: Qdq, first: Qdq | None) -> str:
    if first is None or not one.zeros_given or one.dtype in ("", first.dtype):
        return ""
    return f"it reads {first.dtype} from {label(first.node)} as {one.dtype}"


def _other_numbers(one: Qdq, first: Qdq | None) -> str:
    """A DequantizeLinear that does not give back what its QuantizeLinear took."""
    if first is None:
        return ""
    if one.own_scale and one.unusable is None and first.unusable is None and _differ(one.scale, first.scale):
        return f"its scale is another than that of {label(first.node)}, so that values come back multiplied"
    if one.own_zero and not (one.symmetric and first.symmetric) and _differ(one.zero, first.zero):
        return f"its zero point is another than that of {label(first.node)}, so that values come back shifted"
    return ""


def _differ(one: npt.NDArray[Any] | None, other: npt.NDArray[Any] | None) -> bool:
    return one is not None and other is not None and not np.array_equal(one.ravel(), other.ravel())


def _read_as_numbers(node: ir.Node) -> str:
    """A QuantizeLinear whose integers something computes with that does not know their scale."""
    if node.op_type != QUANTIZE:
        return ""
    for use in node.outputs[0].uses():
        reader = use.node
        if reader.domain != "" or reader.op_type in (DEQUANTIZE, *_MOVES):
            continue
        if not any(word in reader.op_type for word in _IN_INTEGERS):
            return f"{label(reader)} ({reader.op_type}) reads its integers, which are no numbers without their scale"
    return ""
