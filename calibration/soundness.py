"""Whether statistics read from a file can be what arrays left: a file says anything, and ranges are believed."""

from __future__ import annotations

import math

import numpy as np

from . import exact
from .kernels import BINS, FIRST_INF, SHIFT, Counts, Floats
from .statistics import ChannelStatistics, TensorStatistics

_LIMBS = len(exact.EXPONENTS)


def fault(state: TensorStatistics) -> str:
    """What cannot be true of a tensor's state; empty where it is sound."""
    if not (_whole(state.count) and state.count > 0):
        return f"it counts {state.count!r} elements"
    if not (math.isfinite(state.minimum) and math.isfinite(state.maximum) and state.minimum <= state.maximum):
        return f"its values reach from {state.minimum:g} to {state.maximum:g}"
    return _of_histogram(state) or ("" if state.channels is None else _of_channels(state.channels, state))


def _of_histogram(state: TensorStatistics) -> str:
    counts = state.histogram
    if counts.shape != (BINS,):
        return f"its histogram has shape {counts.shape}, not ({BINS},)"
    if counts.min() < 0 or int(counts.sum()) != state.count:
        return f"its histogram counts {int(counts.sum())} elements, it has {state.count}"
    if counts[FIRST_INF : BINS // 2].any() or counts[BINS // 2 + FIRST_INF :].any():
        return "its histogram counts Inf or NaN"
    seen = all(_counted(counts, np.float32(end)) for end in (state.minimum, state.maximum))
    return "" if seen else "its histogram is empty where its extremes are"


def _counted(counts: Counts, value: np.float32) -> bool:
    """Whether the bin of a value is filled; -0 is an extreme as 0."""
    bins = (0, BINS // 2) if value == 0 else (int(value.view(np.uint32)) >> SHIFT,)
    return any(counts[bin] for bin in bins)


def _of_channels(state: ChannelStatistics, whole: TensorStatistics) -> str:
    if not (_whole(state.axis) and _whole(state.count) and state.count > 0):
        return f"its channels are of axis {state.axis!r} and have {state.count!r} elements each"
    channels = state.total.shape[-1]
    if state.total.shape != (_LIMBS, channels) or channels * state.count != whole.count:
        return f"its {channels} channels of {state.count} elements are not its {whole.count}"
    if state.square.shape not in ((_LIMBS, channels), (_LIMBS, 0)):
        return f"its squares have shape {state.square.shape}"
    if any(ends.shape not in ((channels,), (0,)) for ends in (state.minimum, state.maximum)):
        return f"its channels' extremes have shapes {state.minimum.shape} and {state.maximum.shape}"
    return _of_extremes(state.minimum, state.maximum, whole)


def _of_extremes(minimum: Floats, maximum: Floats, whole: TensorStatistics) -> str:
    if not minimum.size:
        return ""
    ordered = np.isfinite(minimum).all() and np.isfinite(maximum).all() and bool((minimum <= maximum).all())
    inside = ordered and minimum.min() == np.float32(whole.minimum) and maximum.max() == np.float32(whole.maximum)
    return "" if inside else "the extremes of its channels are not its own"


def _whole(number: object) -> bool:
    return isinstance(number, int) and not isinstance(number, bool)
