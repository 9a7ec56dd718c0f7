"""What rounding adds to the result of a product, predicted; and the rescaling of its channels that makes it least.

A uniform quantizer of step d adds d^2 / 12 to each element, and the roundings of activation and weight are independent.
Dividing channel c of the activation by s_c and multiplying what reads it leaves the product as it is, but not its
noise: s_c is tried at several strengths, as in SmoothQuant (Xiao et al. 2023).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import reduce

import numpy as np
import numpy.typing as npt

from ....calibration.affine import along, weight_scales
from ....profiles.device.grid import Grid

Values = npt.NDArray[np.float64]
# A kernel of 5 by 5 has so many.
FEW_TAPS = 25


class ProductNoise:
    """Expected squared error of a product, a position, summed over its outputs, however its inputs are rescaled.

    What does not depend on the scales is computed once: weights are large, and many scales are tried.

    Attributes:
        largest: |w| by group, output and input, shape (groups, outputs of a group, inputs of a group).
    """

    def __init__(self, weight: npt.NDArray[np.float32], grid: Grid) -> None:
        """Prepare.

        Args:
            weight: (groups, outputs of a group, inputs of a group, taps).
            grid: of the weight.
        """
        self.largest: Values = _over_taps(np.abs(weight)).astype(np.float64)
        self._energy: Values = np.einsum("goit,goit->gi", weight, weight, dtype=np.float64)
        self._weight, self._grid = weight, grid

    def __call__(self, steps: Sequence[float], power: Values, scales: Values) -> float:
        """The error with each input channel of the activation divided, and of the weight multiplied, by its scale.

        Args:
            steps: of the activations that reach it, divided.
            power: E[x^2] of each input channel, divided, shape (groups * inputs of a group,).
            scales: of each input channel, of that shape.
        """
        groups, _, inputs = self.largest.shape
        by_input = scales.reshape(groups, inputs)
        of_activations = float(np.square(steps).sum()) / 12 * float((self._energy * by_input**2).sum())
        squares = self._steps(by_input[:, None, :]) ** 2
        # Where a step holds for all taps it is there once.
        times = self._weight.shape[3] // squares.shape[3]
        of_weights = float((squares * power.reshape(groups, 1, inputs, 1)).sum()) * float(times) / 12
        return float(of_activations + of_weights)

    def _steps(self, scales: Values) -> Values:
        """The step of each weight, in a shape that broadcasts to (groups, outputs, inputs, 1 or taps)."""
        grid = self._grid
        if grid.block is None:
            shared = 2 if grid.granularity == "channel" else None
            largest: Values = (self.largest * scales).max(axis=shared, keepdims=True)
            return np.broadcast_to(largest, (*self.largest.shape[:2], 1))[..., None] / grid.largest
        weight = (self._weight * scales[..., None]).astype(np.float32)
        return along(weight_scales(weight, 2, grid), weight.shape, 2, grid).astype(np.float64)


def _over_taps(magnitudes: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """The largest along the last axis, tap by tap: numpy's own reduction takes three times as long for a few."""
    taps = magnitudes.shape[-1]
    if not 1 < taps <= FEW_TAPS:
        return np.asarray(magnitudes.max(axis=-1), np.float32)
    return reduce(np.maximum, (magnitudes[..., tap] for tap in range(taps)))


def rescaling(
    activation: Values,
    weight: Values,
    strengths: Sequence[float],
    noise: Callable[[Values], float],
    gain: float,
    *,
    level: Callable[[Values], float],
    within: Callable[[Values], Values] = lambda scales: scales,
) -> Values | None:
    """The divisors of the channels with the least noise; None where they do not pay.

    Args:
        activation, weight: largest |x| and |w| of each channel; one where either is 0 is left alone.
        strengths: exponents alpha to try, s = activation^alpha / weight^(1 - alpha).
        noise: predicted with these divisors.
        gain: share of the noise that must go.
        level: what of the divisors becomes 1.
        within: what else is required of them.
    """
    usable = (activation > 0) & (weight > 0)
    if not usable.any():
        return None
    best, least = None, (1 - gain) * noise(np.ones(len(weight)))
    for alpha in strengths:
        scales = np.ones(len(weight))
        scales[usable] = activation[usable] ** alpha / weight[usable] ** (1 - alpha)
        scales[usable] /= level(scales[usable])
        scales = within(scales)
        if (predicted := noise(scales)) < least:
            best, least = scales, predicted
    return best


def geometric_mean(values: Values) -> float:
    """Of positive values."""
    return float(np.exp(np.log(values).mean()))
