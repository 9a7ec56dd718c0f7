"""Where a picture lies in what an engine takes, so that what the engine gives can be drawn on the picture itself."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ...calibration.images import Fit, Size, placed

Corners = npt.NDArray[np.float64]
Mask = npt.NDArray[np.int64]
UNSEEN = -1
"""In a mask on a picture: what the engine did not see, as it was cropped away."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Fitting:
    """A picture in the image that an engine takes.

    Attributes:
        picture: height and width of the picture.
        taken: height and width of what the engine takes.
        left, top, width, height: of the picture there, in its pixels; below 0 and larger where it is cropped.
    """

    picture: Size
    taken: Size
    left: int
    top: int
    width: int
    height: int

    @classmethod
    def of(cls, picture: Size, taken: Size | None, fit: Fit | None) -> Fitting:
        """Of a picture that is fitted as `calibration.images.fitted` does it."""
        if taken is None or picture == taken or fit is None:
            return cls(picture=picture, taken=picture, left=0, top=0, width=picture[1], height=picture[0])
        left, top, width, height = placed(picture, taken, fit)
        return cls(picture=picture, taken=taken, left=left, top=top, width=width, height=height)

    def on_picture(self, corners: Corners, unit: tuple[float, float] | None) -> Corners:
        """Corners (n, 4) in pixels of the picture.

        Args:
            unit: width and height of what the corners are in; None is the image that the engine takes.
        """
        (height, width), (tall, wide) = self.taken, self.picture
        across, down = unit or (width, height)
        scale = np.array([width / across, height / down] * 2)
        offset = np.array([self.left, self.top] * 2)
        grown = np.array([wide / self.width, tall / self.height] * 2)
        moved: Corners = (corners * scale - offset) * grown
        return moved

    def spread(self, mask: Mask, size: Size) -> Mask:
        """A mask (h, w) that covers what the engine takes, by the nearest cell, on the picture drawn in a size."""
        rows, seen_rows = self._cells(mask.shape[0], size[0], 0)
        columns, seen_columns = self._cells(mask.shape[1], size[1], 1)
        found: Mask = np.where(seen_rows[:, None] & seen_columns, mask[np.ix_(rows, columns)], UNSEEN)
        return found

    def _cells(self, cells: int, pixels: int, axis: int) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.bool_]]:
        """The cell of each pixel along an axis, and whether the engine saw it."""
        length, start = ((self.height, self.top), (self.width, self.left))[axis]
        centres = (np.arange(pixels) + 0.5) * (length / pixels) + start
        found = np.floor(centres * (cells / self.taken[axis])).astype(np.int64)
        return found.clip(0, cells - 1), (found >= 0) & (found < cells)
