"""Groups of channels within one output whose scales are far apart, as boxes in pixels beside scores between 0 and 1.

One ratio over both is that of the larger ones alone: scores that are all noise hide behind boxes. Which axis the
channels lie along, and which of them belong together, is read off the reference's own values.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

# Channels belong to two scales where every peak and every deviation of the ones is so much larger than any of the
# others. Within it noise as large as the smaller ones still takes the ratio of the whole below 24 dB.
APART = 16.0
# Channels that hardly ever fire lie below the others as well, a few of them; what somebody put there is a larger share.
LEAST_SHARE = 0.05
# Of a few values it may be chance that they are small.
LEAST_VALUES = 4
# What varies by less, beside its own size, is a constant in float32, which says nothing of a scale.
CONSTANT = 1e-5
# A group counts as having at least this amplitude, of 1 or of the output where that is smaller: what a rare class, a
# pruned channel or the tail of a softmax holds means nothing beside the others, and every rounding of it is all noise.
UNHEARD = 2.0**-6
# float32 computes a group to no more than this of the largest value around it.
ROUNDING = 5e-7
# A sum along an axis that is the same to this share everywhere is that of a distribution, whose parts are one thing.
SAME_SUM = 1e-3
RANGES = 4  # that a message names

Values = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True)
class ChannelGroup:
    """ChannelScales of one scale, and how close they are to the reference.

    Attributes:
        axis: that the channels lie along.
        channels: them, first and last of each run.
        sqnr_db: signal to quantization noise ratio over them; their signal counts as at least `UNHEARD`.
    """

    axis: int
    channels: tuple[tuple[int, int], ...]
    sqnr_db: float

    def __str__(self) -> str:
        shown = [str(first) if first == last else f"{first}..{last}" for first, last in self.channels[:RANGES]]
        more = len(self.channels) - RANGES
        return f"channels {', '.join(shown)}{f' and {more} more runs' if more > 0 else ''} of axis {self.axis}"


class ChannelScales:
    """What is kept of an output's samples to find its groups: sums by index of each axis but the first."""

    def __init__(self) -> None:
        self._axes: dict[int, _Axis] | None = None
        self._largest = 0.0

    def add(self, reference: Values, output: Values) -> None:
        """Finite arrays of one feed, whose first axis is that of samples."""
        self._largest = max(self._largest, float(np.abs(reference).max(initial=0.0)))
        noise = np.square(reference - output)
        found = {axis: _Axis.of(axis, reference, noise) for axis in range(1, reference.ndim)}
        before = found if self._axes is None else self._axes
        # A size that is free is none of channels.
        same = [axis for axis in found if axis in before and found[axis].length == before[axis].length]
        self._axes = found if self._axes is None else {axis: before[axis].and_(found[axis]) for axis in same}

    def groups(self) -> tuple[ChannelGroup, ...]:
        """The groups over all samples, the largest scale first; none where the channels are of one scale."""
        divided = [(*_parts(along), axis) for axis, along in (self._axes or {}).items() if not along.is_shared]
        _, parts, axis = max(divided, key=lambda one: one[0], default=(1.0, [], 0))
        if not parts or self._axes is None:
            return ()
        along = self._axes[axis]
        noise = np.where(np.sqrt(along.noise / along.count) <= ROUNDING * self._largest, 0.0, along.noise)
        signal = np.square(along.heard) * along.count
        return tuple(
            ChannelGroup(axis=axis, channels=_runs(p), sqnr_db=sqnr(float(signal[p].sum()), float(noise[p].sum())))
            for p in parts
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Axis:
    """Sums over everything but one axis.

    Attributes:
        signal, noise: sums of squares by index.
        total: sums by index.
        peak: the largest absolute value by index.
        count: elements of each index.
        least: the smallest value.
        sums: the smallest and the largest sum along the axis.
    """

    signal: Values
    noise: Values
    total: Values
    peak: Values
    count: int
    least: float
    sums: tuple[float, float]

    @classmethod
    def of(cls, axis: int, reference: Values, noise: Values) -> _Axis:
        others = tuple(other for other in range(reference.ndim) if other != axis)
        along = reference.sum(axis=axis)
        return cls(
            signal=np.square(reference).sum(axis=others),
            noise=noise.sum(axis=others),
            total=reference.sum(axis=others),
            peak=np.abs(reference).max(axis=others, initial=0.0),
            count=reference.size // max(1, reference.shape[axis]),
            least=float(reference.min(initial=np.inf)),
            sums=(float(along.min(initial=np.inf)), float(along.max(initial=-np.inf))),
        )

    def and_(self, other: _Axis) -> _Axis:
        """Both together."""
        return _Axis(
            signal=self.signal + other.signal,
            noise=self.noise + other.noise,
            total=self.total + other.total,
            peak=np.maximum(self.peak, other.peak),
            count=self.count + other.count,
            least=min(self.least, other.least),
            sums=(min(self.sums[0], other.sums[0]), max(self.sums[1], other.sums[1])),
        )

    @property
    def length(self) -> int:
        return len(self.signal)

    @property
    def heard(self) -> Values:
        """Amplitude by index, at least what counts at all."""
        return heard(np.sqrt(self.signal / max(1, self.count)))

    @property
    def deviation(self) -> Values:
        """Standard deviation by index."""
        count = max(1, self.count)
        return np.sqrt(np.maximum(self.signal / count - np.square(self.total / count), 0.0))

    @property
    def is_shared(self) -> bool:
        """Whether the values along the axis are shares of one whole, as behind a softmax."""
        low, high = self.sums
        return self.least >= 0 and low > 0 and high - low <= SAME_SUM * high


def _parts(along: _Axis) -> tuple[float, list[npt.NDArray[np.intp]]]:
    """How far apart scales are, and the indices of each, the largest first; none where all are of one scale."""
    varying = np.flatnonzero(along.deviation > CONSTANT * along.peak)
    if along.count < LEAST_VALUES or not len(varying):
        return 1.0, []
    peak, spread = heard(along.peak), heard(along.deviation)
    order = varying[np.argsort(-peak[varying], kind="stable")]
    found = np.split(order, _cuts(peak[order], spread[order], LEAST_SHARE * along.length))
    # A constant, as a mask of -10000, hides all the others as well as a scale does.
    hidden = np.delete(peak, varying).max(initial=0.0) > APART * peak[order[0]]
    return float(peak.max() / peak[found[-1]].max()), found if len(found) > 1 or hidden else []


def _cuts(peak: Values, spread: Values, least: float) -> list[int]:
    """Where a scale begins, in channels by descending peak: below it every peak and every deviation is far smaller.

    Both, since a channel may be near 0 by chance, or vary little on the few inputs that were seen.
    """
    above, below = np.minimum.accumulate(spread), np.maximum.accumulate(spread[::-1])[::-1]
    apart = (peak[:-1] > APART * peak[1:]) & (above[:-1] > APART * below[1:])
    cuts, end = list[int](), len(peak)
    for cut in map(int, np.flatnonzero(apart)[::-1] + 1):
        if end - cut >= least:
            cuts, end = [cut, *cuts], cut
    return cuts


def heard(amplitude: Values) -> Values:
    """Amplitudes of parts of an output, each at least what counts at all beside the largest (`UNHEARD`)."""
    return np.maximum(amplitude, UNHEARD * min(1.0, float(amplitude.max(initial=0.0))))


def _runs(part: npt.NDArray[np.intp]) -> tuple[tuple[int, int], ...]:
    """Neighbouring indices as (first, last)."""
    indices = np.sort(part)
    starts = np.split(indices, np.flatnonzero(np.diff(indices) > 1) + 1)
    return tuple((int(run[0]), int(run[-1])) for run in starts)


def sqnr(signal: float, noise: float) -> float:
    """Signal to noise ratio of two energies in dB; inf without noise."""
    if noise == 0:
        return math.inf
    return 10 * math.log10(signal / noise) if signal > 0 else -math.inf
