"""Groups of channels within one output whose scales are far apart, as boxes in pixels beside scores between 0 and 1.

One ratio over both is that of the larger ones alone: scores that are all noise hide behind boxes. Which axis the
channels lie along, and which of them belong together, is read off the reference's own values.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

# Amplitudes of neighbours in order of size that are further apart than this are two scales. Within it noise as large
# as the smaller channels still takes the ratio of the whole below 20 dB.
APART = 10.0
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
        divided = [(*_parts(along.heard), axis) for axis, along in (self._axes or {}).items() if not along.is_shared]
        _, parts, axis = max(divided, key=lambda one: one[0], default=(1.0, [], 0))
        if len(parts) < 2 or self._axes is None:
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
        count: elements of each index.
        least: the smallest value.
        sums: the smallest and the largest sum along the axis.
    """

    signal: Values
    noise: Values
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
            count=reference.size // max(1, reference.shape[axis]),
            least=float(reference.min(initial=np.inf)),
            sums=(float(along.min(initial=np.inf)), float(along.max(initial=-np.inf))),
        )

    def and_(self, other: _Axis) -> _Axis:
        """Both together."""
        return _Axis(
            signal=self.signal + other.signal,
            noise=self.noise + other.noise,
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
        amplitude: Values = np.sqrt(self.signal / max(1, self.count))
        return np.maximum(amplitude, UNHEARD * min(1.0, float(amplitude.max(initial=0.0))))

    @property
    def is_shared(self) -> bool:
        """Whether the values along the axis are shares of one whole, as behind a softmax."""
        low, high = self.sums
        return self.least >= 0 and low > 0 and high - low <= SAME_SUM * high


def _parts(amplitude: Values) -> tuple[float, list[npt.NDArray[np.intp]]]:
    """Indices by scale, the largest scale first, and the widest gap between two of them."""
    order = np.argsort(-amplitude, kind="stable")
    steps = amplitude[order][:-1] / np.maximum(amplitude[order][1:], np.finfo(np.float64).tiny)
    return float(steps.max(initial=1.0)), np.split(order, np.flatnonzero(steps > APART) + 1)


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
