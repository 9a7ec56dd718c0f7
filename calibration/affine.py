"""Scale and zero point of integer types.

A real value x is stored as q = clamp(round(x / scale) + zero_point), as ONNX QuantizeLinear defines it.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ..profiles.device.target import Scheme

# The symmetric range is -127..127: with -128 two s8 products could exceed what VPMADDUBSW-style kernels accumulate,
# and TensorRT as well as onnxruntime expect weights in the narrow range.
SYMMETRIC_LIMIT = 127
STEPS = 255


@dataclass(frozen=True, slots=True, kw_only=True)
class Affine:
    """Scale (float32, > 0) and zero point of a quantized activation."""

    scale: float
    zero_point: int


def affine(low: float, high: float, scheme: Scheme) -> Affine:
    """Scale and zero point that represent `low..high`, widened to hold 0 exactly, in the scheme's activation type.

    Asymmetric: scale = (high - low) / 255, zero point = qmin - low / scale, rounded (Jacob et al. 2018, section 2.1).
    Symmetric: scale = max(|low|, |high|) / 127, zero point 0. A tensor that is all zero gets scale 1.
    """
    low, high = min(low, 0.0), max(high, 0.0)
    if scheme.symmetric:
        return Affine(scale=_positive(max(-low, high) / SYMMETRIC_LIMIT), zero_point=0)
    smallest = 0 if scheme.activation == "uint8" else -128
    scale = _positive((high - low) / STEPS)
    return Affine(scale=scale, zero_point=int(np.clip(round(smallest - low / scale), smallest, smallest + STEPS)))


def represented(affine: Affine, scheme: Scheme) -> tuple[float, float]:
    """The smallest and the largest real value that the integers stand for."""
    if scheme.symmetric:
        return -SYMMETRIC_LIMIT * affine.scale, SYMMETRIC_LIMIT * affine.scale
    smallest = 0 if scheme.activation == "uint8" else -128
    low = (smallest - affine.zero_point) * affine.scale
    return low, low + STEPS * affine.scale


def weight_scales(weight: npt.NDArray[np.float32], axis: int | None) -> npt.NDArray[np.float32]:
    """Symmetric int8 scales of a weight: max|w| / 127 per channel along `axis`, or one for all (shape `()`) if None.

    A channel that is all zero gets the median scale of the others, so that its bias, whose scale is derived from it,
    keeps its resolution.
    """
    others = None if axis is None else tuple(a for a in range(weight.ndim) if a != axis)
    largest = np.maximum(weight.max(axis=others), -weight.min(axis=others)).astype(np.float32)
    scales = np.asarray(largest / np.float32(SYMMETRIC_LIMIT), dtype=np.float32)
    usable = scales >= np.finfo(np.float32).tiny
    if usable.all():
        return scales
    return np.where(usable, scales, np.median(scales[usable]) if usable.any() else np.float32(1)).astype(np.float32)


def _positive(scale: float) -> float:
    """The scale in float32, or 1 where it is zero or denormal, which QuantizeLinear could not divide by."""
    rounded = float(np.float32(scale))
    return rounded if rounded >= float(np.finfo(np.float32).tiny) else 1.0
