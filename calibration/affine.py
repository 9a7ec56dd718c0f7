"""Scale and zero point on a grid of integers.

A real value x is stored as q = clamp(round(x / scale) + zero_point), as ONNX QuantizeLinear defines it.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ..profiles.device.grid import Grid


@dataclass(frozen=True, slots=True, kw_only=True)
class Affine:
    """Scale (float32, > 0) and zero point of a quantized activation."""

    scale: float
    zero_point: int


def affine(low: float, high: float, grid: Grid) -> Affine:
    """Scale and zero point that represent `low..high`, widened to hold 0 exactly.

    Asymmetric: scale = (high - low) / steps, zero point = qmin - low / scale, rounded (Jacob et al. 2018, section 2.1).
    Symmetric: scale = max(|low|, |high|) / qmax, zero point 0. A tensor that is all zero gets scale 1.
    """
    low, high = min(low, 0.0), max(high, 0.0)
    scale = _positive(step(low, high, grid))
    if grid.symmetric:
        return Affine(scale=scale, zero_point=0)
    return Affine(scale=scale, zero_point=int(np.clip(round(grid.smallest - low / scale), grid.smallest, grid.largest)))


def step(low: float, high: float, grid: Grid) -> float:
    """The step of a grid over `low..high`, low <= 0 <= high."""
    return max(-low, high) / grid.largest if grid.symmetric else (high - low) / grid.steps


def represented(affine: Affine, grid: Grid) -> tuple[float, float]:
    """The smallest and the largest real value that the integers stand for."""
    return (grid.smallest - affine.zero_point) * affine.scale, (grid.largest - affine.zero_point) * affine.scale


def weight_scales(weight: npt.NDArray[np.float32], axis: int | None, grid: Grid) -> npt.NDArray[np.float32]:
    """Scales of a weight on a symmetric grid: max|w| / qmax of the values that share one.

    Args:
        axis: as ONNX means it: of the channels, or along which the blocks lie; None is one scale for all.

    Returns:
        float32 of shape (), (channels,), or that of the weight with the number of blocks along `axis`. Where all is
        zero, the median scale of the others: a bias whose scale is derived from it keeps its resolution.
    """
    scales = np.asarray(_largest(weight, axis, grid.block) / np.float32(grid.largest), dtype=np.float32)
    usable = scales >= np.finfo(np.float32).tiny
    if usable.all():
        return scales
    return np.where(usable, scales, np.median(scales[usable]) if usable.any() else np.float32(1)).astype(np.float32)


def quantize_weight(
    weight: npt.NDArray[np.float32], scales: npt.NDArray[np.float32], axis: int | None, grid: Grid
) -> npt.NDArray[np.float32]:
    """round(w / scale) within the grid, as whole floats, with scales as `weight_scales` gives them."""
    whole: npt.NDArray[np.float32] = np.rint(weight / along(scales, weight.shape, axis, grid))
    return whole.clip(grid.smallest, grid.largest)


def dequantized_weight(
    weight: npt.NDArray[np.float32], scales: npt.NDArray[np.float32], axis: int | None, grid: Grid
) -> npt.NDArray[np.float32]:
    """What the runtime sees of the weight once it is quantized."""
    return quantize_weight(weight, scales, axis, grid) * along(scales, weight.shape, axis, grid)


def along(
    scales: npt.NDArray[np.float32], shape: tuple[int, ...], axis: int | None, grid: Grid
) -> npt.NDArray[np.float32]:
    """The scales in a shape that broadcasts to that of the weight."""
    if axis is None:
        return scales.reshape([1] * len(shape))
    if grid.block is not None:
        return scales.repeat(grid.block, axis).take(np.arange(shape[axis]), axis)
    return scales.reshape([-1 if a == axis else 1 for a in range(len(shape))])


def _largest(weight: npt.NDArray[np.float32], axis: int | None, block: int | None) -> npt.NDArray[np.float32]:
    """The largest |w| of those that share a scale."""
    if axis is not None and block is not None:
        starts = np.arange(0, weight.shape[axis], block)
        return np.asarray(np.maximum.reduceat(np.abs(weight), starts, axis=axis), np.float32)
    others = None if axis is None else tuple(a for a in range(weight.ndim) if a != axis)
    return np.asarray(np.maximum(weight.max(axis=others), -weight.min(axis=others)), np.float32)


def _positive(scale: float) -> float:
    """The scale in float32, or 1 where it is zero or denormal, which QuantizeLinear could not divide by."""
    rounded = float(np.float32(scale))
    return rounded if rounded >= float(np.finfo(np.float32).tiny) else 1.0
