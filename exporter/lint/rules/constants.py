"""Constants that are no numbers: whatever reads them gives nothing that is one."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from ...graphs.values import constant
from ..examined import Examined, found_at
from ..finding import Finding
from ..qdq import DEQUANTIZE, QUANTIZE

if TYPE_CHECKING:
    import onnx_ir as ir

SOURCE = "IEEE 754-2019: an operation on NaN gives NaN, and so do infinity times 0 and infinity less infinity."
# They multiply by a constant and add up, so that an infinite one leaves nothing.
PRODUCTS = frozenset({"Conv", "ConvTranspose", "Gemm", "MatMul"})


def find(examined: Examined) -> Iterator[Finding]:
    """NaN in any constant, and infinity in a weight; a mask of infinity is none, and of scales the rule `pairs` tells.

    What is infinite in float16 is the rule `fp16-range`.
    """
    seen: set[ir.Value] = set()
    for node in examined.model.graph.all_nodes():
        rounds = node.op_type in (QUANTIZE, DEQUANTIZE)
        for value in node.inputs[:1] if rounds else node.inputs:
            if value is None or value in seen or (array := constant(value)) is None:
                continue
            seen.add(value)
            if said := _said(array, weight=rounds or node.op_type in PRODUCTS):
                yield found_at(
                    node,
                    "error",
                    f"its constant {value.name} {said}",
                    remedy="Look at this layer in the trained model: training diverged, or the file is damaged.",
                    source=SOURCE,
                )


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
