"""Arithmetic with constants, as a factor and an offset for each channel."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from ...graphs.values import constant

if TYPE_CHECKING:
    import onnx_ir as ir

Wide = npt.NDArray[np.float64]
_EITHER_SIDE = frozenset({"Add", "Mul"})
_ARITHMETIC = _EITHER_SIDE | {"Sub", "Div"}


@dataclass(frozen=True, slots=True, kw_only=True)
class ChannelStep:
    """What one node computes of a value: `value * factor + offset`, both of shape (channels,)."""

    value: ir.Value
    factor: Wide
    offset: Wide


def step_of(node: ir.Node, channels: int, rank: int) -> ChannelStep | None:
    """The node as a step over the channels on axis 1 of a value of this rank; None where it is something else."""
    if node.domain != "" or node.op_type not in _ARITHMETIC:
        return None
    first, second = node.inputs
    if node.op_type in _EITHER_SIDE and constant(second) is None:
        first, second = second, first
    array = constant(second)
    if first is None or constant(first) is not None or array is None or array.dtype != np.float32:
        return None
    if array.ndim > rank or (array.size > 1 and not _along_channels(array, channels, rank)):
        return None
    values = np.broadcast_to(array.reshape(-1).astype(np.float64), channels)
    if node.op_type == "Div":
        return None if not values.all() else ChannelStep(value=first, factor=1 / values, offset=np.zeros(channels))
    if node.op_type == "Mul":
        return ChannelStep(value=first, factor=values, offset=np.zeros(channels))
    return ChannelStep(value=first, factor=np.ones(channels), offset=values if node.op_type == "Add" else -values)


def _along_channels(array: npt.NDArray[np.float32], channels: int, rank: int) -> bool:
    return array.size == channels and array.ndim >= rank - 1 and array.shape[array.ndim - rank + 1] == channels
