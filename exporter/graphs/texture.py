"""How smooth images, signals and volumes are, and noise that is as smooth."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ...backends.base import Array

Values = npt.NDArray[np.float64]

# From this correlation of neighbours on an example says how smooth the data are; an example below is likely noise that
# somebody made up, and independent noise drives a network's activations away from natural ones.
_SMOOTH = 0.5


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
        wide = array.astype(np.float64)
        axes = [axis for axis in smooth_axes(array.shape) if array.shape[axis] > 2 * UNKNOWN.cell]
        if not axes or not np.isfinite(wide).all() or wide.std() == 0:
            return UNKNOWN
        centred = wide - wide.mean()
        lags = [_over(centred, axes, lag) for lag in (1, 2)]
        if lags[0] < _SMOOTH:
            return UNKNOWN
        # Straight on from lags 2 and 1 to 0: what is missing to 1 is each value's own.
        smooth = min(1.0, 2 * lags[0] - lags[1])
        size = min(array.shape[axis] for axis in axes)
        reach = range(1, size // 2)
        half = next((lag for lag in reach if _over(centred, axes, lag) < smooth / 2), size // 2)
        # Linear interpolation between independent points correlates by a half at about 0.7 of a cell.
        return cls(cell=max(UNKNOWN.cell, round(half / 0.7)), fine=min(UNKNOWN.fine, np.sqrt((1 - smooth) / smooth)))

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


def _over(centred: Values, axes: list[int], lag: int) -> float:
    return float(np.mean([_correlation(centred, axis, lag) for axis in axes]))


def _correlation(centred: Values, axis: int, lag: int) -> float:
    """Of values with those so many further along the axis."""
    along = np.moveaxis(centred, axis, 0)
    ahead, behind = along[lag:], along[: len(along) - lag]
    return float((ahead * behind).mean() / np.square(centred).mean())


def _stretch(values: Values, axis: int, size: int) -> Values:
    """Linear interpolation along one axis to another size."""
    position = np.linspace(0, values.shape[axis] - 1, size)
    left = np.minimum(position.astype(int), values.shape[axis] - 2)
    share = (position - left).reshape([-1 if i == axis else 1 for i in range(values.ndim)])
    stretched: Values = values.take(left, axis) * (1 - share) + values.take(left + 1, axis) * share
    return stretched
