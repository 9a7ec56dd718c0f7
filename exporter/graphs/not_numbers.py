"""Constants of a graph that are no numbers."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from .values import constant

if TYPE_CHECKING:
    import onnx_ir as ir

# They multiply by a constant and add up, so that an infinite one leaves nothing.
PRODUCTS = frozenset({"Conv", "ConvTranspose", "Gemm", "MatMul"})
_ROUNDING = frozenset({"QuantizeLinear", "DequantizeLinear"})


@dataclass(frozen=True, slots=True, kw_only=True)
class NotNumbers:
    """A constant that holds some.

    Attributes:
        node: that reads it, the first one.
        name: of the constant.
        said: what it holds, for a sentence about it.
    """

    node: ir.Node
    name: str
    said: str


def constants_not_numbers(graph: ir.Graph) -> Iterator[NotNumbers]:
    """NaN in any constant, and infinity in a weight; a mask of infinity is none, and scales are not looked at."""
    seen: set[ir.Value] = set()
    for node in graph.all_nodes():
        rounds = node.op_type in _ROUNDING
        for value in node.inputs[:1] if rounds else node.inputs:
            if value is None or value in seen or (array := constant(value)) is None:
                continue
            seen.add(value)
            if said := _said(array, weight=rounds or node.op_type in PRODUCTS):
                yield NotNumbers(node=node, name=str(value.name), said=said)


def _said(array: npt.NDArray[np.generic], *, weight: bool) -> str:
    if array.dtype.kind not in "fV" or not array.size:
        return ""
    try:
        finite = np.isfinite(array)
    except TypeError:  # a type of four bits, which has neither
        return ""
    if finite.all():
        return ""
    wrong = array[~finite]
    if (missing := int(np.isnan(wrong).sum())) > 0:
        return f"holds NaN, {missing} of {array.size} elements"
    return f"holds infinity, {wrong.size} of {array.size} elements" if weight and array.dtype != np.float16 else ""
