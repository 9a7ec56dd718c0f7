"""Where the weight of an operator is, and along which of its axes scales may lie."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from ....calibration.statistics import Channels
from ....profiles.device.grid import Grid
from ...graphs.values import constant, number

if TYPE_CHECKING:
    import onnx_ir as ir

CONVOLUTIONS = frozenset({"Conv", "ConvTranspose"})


@dataclass(frozen=True, slots=True, kw_only=True)
class WeightSite:
    """A weighted operator and where its weight is.

    Attributes:
        data, weight: input indices of the activation and of the constant weight.
        axis: output-channel axis of the weight, None where it has none that a scale could follow.
        inner: input-channel axis of the weight, along which blocks lie.
    """

    node: ir.Node
    data: int
    weight: int
    axis: int | None
    inner: int

    def scale_axis(self, grid: Grid) -> int | None:
        """The `axis` of ONNX QuantizeLinear for the weight; None for one scale a tensor."""
        return {"tensor": None, "channel": self.axis, "block": self.inner}[grid.granularity]

    @property
    def channels(self) -> Channels:
        """What to know of the activation: means for the bias of a convolution, the spread too for a product's lift."""
        convolution = self.node.op_type in CONVOLUTIONS
        return Channels(axis=1 if convolution else -1, spread=not convolution)


def weight_site(node: ir.Node) -> WeightSite | str:
    """Where the weight is, or why the operator has none that can be int8."""
    second = node.inputs[1]
    weight = 1 if second is not None and constant(second) is not None else 0
    array = constant(node.inputs[weight])
    if array is None:
        return "both operands are activations (no constant weight)"
    if (weight == 0 and node.op_type != "MatMul") or constant(node.inputs[1 - weight]) is not None:
        return "its data operand is constant"
    if array.dtype != np.float32:
        return f"its weight is {array.dtype}, not float32"
    if node.op_type == "Gemm" and (
        number(node, "transA", 0) or number(node, "beta", 1) != 1 or number(node, "alpha", 1) != 1
    ):
        return "a Gemm with transA, alpha or beta has no integer kernel"
    axis = channel_axis(node, weight, array.ndim)
    return WeightSite(node=node, data=1 - weight, weight=weight, axis=axis, inner=_inner_axis(node, weight, array.ndim))


def channel_axis(node: ir.Node, weight: int, rank: int) -> int | None:
    """Output-channel axis of a weight (ONNX operator definitions; TensorRT's per-channel rules are the same)."""
    if node.op_type == "Conv":
        return 0
    if node.op_type == "ConvTranspose":
        return 1 if number(node, "group", 1) == 1 else None
    if node.op_type == "Gemm":
        return 0 if number(node, "transB", 0) else 1
    return 1 if weight == 1 and rank == 2 else None


def _inner_axis(node: ir.Node, weight: int, rank: int) -> int:
    """Input-channel axis of a weight, over which its products are summed."""
    if node.op_type in CONVOLUTIONS:
        return int(node.op_type == "Conv")
    if node.op_type == "Gemm":
        return int(number(node, "transB", 0))
    return max(rank - 2, 0) if weight == 1 else rank - 1
