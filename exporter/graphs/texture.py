"""How smooth images, signals and volumes are, and noise that is as smooth."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ...backends.base import Array

Values = npt.NDArray[np.float64]

# From this correlation of neighbours on an example says how smooth the data are; an example below is likely noise that
# somebody made up, and independent noise drives a network's activations away from natural ones.
_SMOOTH = 0.5
# Values of an example that are looked at along an axis, however large it is: a megapixel, a minute of speech.
MOST = 1 << 20
# What is left of values that are all the same, less their mean, against them.
_NOTHING = 1e-12


@dataclass(frozen=True, slots=True)
class Texture:
    """Noise on a coarse grid, stretched, and a little of each value's own.

    Attributes:
        cell: values between two points of the grid.
        fine: deviation of the own noise beside the smooth one.
    """

    cell: int = 4
    fine: float = 0.3

    @classmethod
    def of(cls, array: Array) -> Texture:
        """That of an example: where its correlation along the smooth axes falls to a half, and what lag 0 has alone."""
        axes = [axis for axis in smooth_axes(array.shape) if array.shape[axis] > 2 * UNKNOWN.cell]
        over = _over(array, axes) if axes else np.zeros(2)
        if over[1] < _SMOOTH:
            return UNKNOWN
        # Straight on from lags 2 and 1 to 0: what is missing to 1 is each value's own. It is never less than at lag 1,
        # where lag 2 has more, as in a pattern of two values in turn.
        smooth = min(1.0, max(over[1], 2 * over[1] - over[2]))
        half = next((lag for lag in range(1, len(over) // 2) if over[lag] < smooth / 2), len(over) // 2)
        # Linear interpolation between independent points correlates by a half at about 0.7 of a cell.
        cell = max(UNKNOWN.cell, round(half / 0.7))
        return cls(cell=cell, fine=min(UNKNOWN.fine, float(np.sqrt((1 - smooth) / smooth))))

    def noise(self, shape: tuple[int, ...], rng: np.random.Generator) -> Values:
        """Noise of variance about 1; from three axes on, smooth along those of an image, a signal or a volume."""
        fine = np.asarray(rng.standard_normal(shape))
        axes = smooth_axes(shape)
        if not axes:
            return fine
        grid = [max(2, -(-n // self.cell)) if axis in axes else n for axis, n in enumerate(shape)]
        coarse = rng.standard_normal(grid)
        for axis in axes:
            coarse = _stretch(coarse, axis, shape[axis])
        deviation = coarse.std() or 1.0
        mixed: Values = (coarse / deviation + self.fine * fine) / np.hypot(1.0, self.fine)
        return mixed


UNKNOWN = Texture()


def smooth_axes(shape: tuple[int, ...]) -> tuple[int, ...]:
    """The axes behind batch and channels, or between them where the channels come last."""
    if len(shape) < 3 or 0 in shape:
        return ()
    channels_last = len(shape) > 3 and shape[-1] <= 4 < shape[1]
    return tuple(range(1, len(shape) - 1)) if channels_last else tuple(range(2, len(shape)))


def _over(array: Array, axes: list[int]) -> Values:
    """Correlations at lags 0, 1, 2 ..., the mean of the axes; zeros where a number is not finite."""
    # Samples and channels each have a mean of their own, which says nothing of how smooth they are.
    with np.errstate(over="ignore", invalid="ignore"):
        means = array.mean(axis=tuple(axes), dtype=np.float64, keepdims=True)
    if not np.isfinite(means).all():
        return np.zeros(2)
    found = [_correlations(array, means, axis) for axis in axes]
    size = min(map(len, found))
    over: Values = np.mean([one[:size] for one in found], axis=0)
    return over


def lines(array: Array, axis: int) -> Values:
    """Values along the axis, from all over the array.

    Returns:
        [lines, values], `MOST` values in all at most; of a longer axis one line, the first of it.
    """
    along = np.moveaxis(array, axis, -1)[..., :MOST]
    count, length = math.prod(along.shape[:-1]), along.shape[-1]
    picked = np.linspace(0, count - 1, min(count, max(1, MOST // length))).astype(int)
    return along[np.unravel_index(picked, along.shape[:-1])].astype(np.float64)


def _correlations(array: Array, means: Values, axis: int) -> Values:
    """Of values with those 0, 1, 2 ... further along the axis, by way of the spectrum: n values cost n log n, not n^2.

    Args:
        means: those of samples and channels, as the array but for axes of 1.

    Returns:
        As many as a line has values; zeros where all of them are the same.
    """
    taken = lines(array, axis)
    centred = taken - lines(np.broadcast_to(means, array.shape), axis)
    size, largest = centred.shape[1], np.abs(centred).max()
    if largest <= _NOTHING * np.abs(taken).max():
        return np.zeros(size)
    # Behind a line come as many zeros, so that its end does not meet its beginning.
    spectrum = np.fft.rfft(centred / largest, 1 << (2 * size - 1).bit_length(), axis=1)
    power = (spectrum.real**2 + spectrum.imag**2).sum(axis=0)
    sums = np.fft.irfft(power)[:size] / np.arange(size, 0, -1)
    correlations: Values = sums / sums[0]
    return correlations


def _stretch(values: Values, axis: int, size: int) -> Values:
    """Linear interpolation along one axis to another size."""
    position = np.linspace(0, values.shape[axis] - 1, size)
    left = np.minimum(position.astype(int), values.shape[axis] - 2)
    share = (position - left).reshape([-1 if i == axis else 1 for i in range(values.ndim)])
    stretched: Values = values.take(left, axis) * (1 - share) + values.take(left + 1, axis) * share
    return stretched
