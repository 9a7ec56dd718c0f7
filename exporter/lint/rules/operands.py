"""Quantized weights beside data in float, and integer biases beside scales that are not theirs."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import numpy as np

from ....profiles.device.target import Scheme
from ..examined import Examined, found_at
from ..finding import Finding
from ..qdq import Qdq, dequantizer, in_integers
from .integers import JUDGED

if TYPE_CHECKING:
    import onnx_ir as ir

# onnxruntime 1.31.1 takes a bias whose scale is within 1 % of the products' for one of theirs, at 5 % no longer.
_NEAR = 1e-2


def find(examined: Examined) -> Iterator[Finding]:
    """One finding an operator of which a quantized weight alone is not enough, or whose bias is not of its products."""
    scheme = examined.target.scheme
    if scheme is None:
        return
    of = {one.node: one for one in examined.qdq}
    for node in examined.model.graph.all_nodes():
        if node.op_type not in scheme.weighted or len(node.inputs) < 2:
            continue
        if in_integers(node):
            yield from _bias(node, scheme, of)
        elif _is_weight(node.inputs[1], of) and not _comes_rounded(node.inputs[0], scheme):
            yield found_at(
                node,
                "warning",
                f"its weight is quantized and its data are not: {scheme.name} computes it in float",
                remedy="Quantize its data as well, or leave its weight float.",
                source=scheme.source,
            )


def _is_weight(value: ir.Value | None, of: dict[ir.Node, Qdq]) -> bool:
    """A constant in integers that are not for weights alone."""
    node = dequantizer(value)
    return node is not None and of[node].stored and of[node].dtype in JUDGED and not of[node].blocked


def _comes_rounded(value: ir.Value | None, scheme: Scheme) -> bool:
    """Whether data come from a DequantizeLinear, or through operators that carry integers."""
    carriers = (*scheme.keep_scale, *(scheme.shared if scheme.carried else ()))
    while value is not None and dequantizer(value) is None:
        node = value.producer()
        if node is None or node.op_type not in carriers:
            return False
        value = node.inputs[0]
    return value is not None


def _bias(node: ir.Node, scheme: Scheme, of: dict[ir.Node, Qdq]) -> Iterator[Finding]:
    """An int32 bias is added to the integer products as it is, so that it must be of their scale."""
    data, weight, bias = (dequantizer(value) for value in (*node.inputs, None)[:3])
    if scheme.bias != "int32" or data is None or weight is None or bias is None or of[bias].dtype != "int32":
        return
    if _is_product([of[one] for one in (data, weight, bias)]):
        return
    wrong = node.op_type in scheme.bias_as_products
    so = "takes it for one of the products, and the result is wrong" if wrong else "computes it in float"
    yield found_at(
        node,
        "error" if wrong else "warning",
        f"the scale of its int32 bias is not the product of those of its data and its weight: {scheme.name} {so}",
        remedy="Round the bias with the product of the two scales.",
        source=scheme.source,
    )


def _is_product(three: Sequence[Qdq]) -> bool:
    """Whether the scale of the third is the product of the others'; also where another rule finds fault with one."""
    data, weight, bias = (one.scale for one in three)
    if data is None or weight is None or bias is None:
        return True
    if any(one.own_scale or one.unusable is not None for one in three) or data.size != 1:
        return True
    if bias.size not in (1, weight.size):
        return True
    # Below the smallest normal number a product has few digits.
    return np.allclose(bias, np.asarray(data, np.float64).ravel() * weight, _NEAR, np.finfo(np.float32).tiny)
