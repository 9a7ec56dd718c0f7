"""Whether one scale is fine enough for several tensors, or for all channels of one."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from ....calibration.statistics import TensorStatistics

# Tensors whose widths differ by more do not share a scale: 12 dB, two of eight bits, for the narrow one.
MOST_TIMES = 4.0
# A channel with fewer of the 255 steps of its tensor than this keeps less than about 20 dB.
FEWEST_STEPS, STEPS = 16.0, 255.0
# A channel that varies by less than this share of its tensor is constant but for rounding.
CONSTANT = 1e-6


def fits_parts(states: Iterable[TensorStatistics]) -> bool:
    """Whether the widths of all tensors that vary are within a small factor of each other."""
    widths = [width for state in states if (width := _width(state)) > 0]
    return not widths or max(widths) <= MOST_TIMES * min(widths)


def fits_channels(state: TensorStatistics | None) -> bool:
    """Whether each channel that varies gets some steps of the tensor's scale; True where nothing is known of them."""
    if state is None or state.channels is None or not state.channels.minimum.size:
        return True
    whole = _width(state)
    widths = state.channels.maximum.astype(np.float64) - state.channels.minimum
    varying = widths[widths > CONSTANT * whole]
    return not varying.size or float(varying.min()) * STEPS >= FEWEST_STEPS * whole


def _width(state: TensorStatistics) -> float:
    """From the least to the largest value; 0 always lies on a grid."""
    return max(0.0, state.maximum) - min(0.0, state.minimum)
