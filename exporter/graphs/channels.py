"""ChannelSizes of an input that are of other sizes: columns of a table, quantities of a series, bands of a sensor.

Made-up values of one size for all would lie far outside of what a model, or the ranges of its int8, ever saw in the
small ones.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from ...backends.base import Array

Values = npt.NDArray[np.float64]

# The largest channel this many times the median one: below, one size describes all of them.
_APART = 8.0
# A channel that never varies is made to, by this share of itself. Deviations are powers of two, and means are multiples
# of them, so that no sample can be read off.
_STILL = 1 / 64
# Deviations to either side that made-up values reach.
_WIDEST = 3.0


@dataclass(frozen=True, slots=True, kw_only=True)
class ChannelSizes:
    """Mean and mean square of each channel, of the values seen.

    Attributes:
        axis: along which the channels lie: 1, or the last one.
        count: values seen of each.
        total, squares: sums of x and of x^2, by channel.
    """

    axis: int
    count: int
    total: Values
    squares: Values

    @classmethod
    def of(cls, array: Array) -> ChannelSizes | None:
        """Those of a batch, along the axis where they differ most; None where they are of about one size."""
        if array.dtype.kind != "f" or array.ndim < 2 or not array.size or not np.isfinite(array).all():
            return None
        each = [cls._along(array, axis) for axis in sorted({1, array.ndim - 1})]
        found = max(each, key=lambda one: one._apart())
        return found if found._apart() >= _APART else None

    @classmethod
    def _along(cls, array: Array, axis: int) -> ChannelSizes:
        rows = np.moveaxis(array, axis, 0).reshape(array.shape[axis], -1).astype(np.float64)
        return cls(axis=axis, count=rows.shape[1], total=rows.sum(axis=1), squares=np.square(rows).sum(axis=1))

    def with_more(self, array: Array) -> ChannelSizes | None:
        """Those of what was seen before and this batch; None where it has other channels."""
        if not self.fits(array.shape) or not np.isfinite(array).all():
            return None
        more = self._along(array, self.axis)
        return replace(
            self, count=self.count + more.count, total=self.total + more.total, squares=self.squares + more.squares
        )

    def fits(self, shape: tuple[int, ...]) -> bool:
        """Whether a shape has as many channels there."""
        return len(shape) > self.axis and shape[self.axis] == len(self.total)

    def like(self, noise: Values) -> Values:
        """Noise of variance 1, whose shape fits, as values of these channels."""
        mean = self.total / self.count
        deviation = np.sqrt(np.maximum(self.squares / self.count - mean**2, 0))
        rounding = np.abs(mean) * np.finfo(np.float32).eps
        size = np.where(deviation > rounding, deviation, np.abs(mean) * _STILL)
        # A channel that was always 0 may have something to say elsewhere.
        size = np.where(size > 0, size, np.median(size[size > 0]))
        step = np.exp2(np.round(np.log2(size)))
        shape = [-1 if axis == self.axis else 1 for axis in range(noise.ndim)]
        made: Values = (np.round(mean / step) * step).reshape(shape) + step.reshape(shape) * noise.clip(
            -_WIDEST, _WIDEST
        )
        return made

    def _apart(self) -> float:
        """The largest channel's size over the median one's."""
        sizes = np.sqrt(self.squares / self.count)
        seen = sizes[sizes > 0]
        return float(seen.max() / np.median(seen)) if seen.size > 1 else 1.0
