"""What a user wants drawn."""

from __future__ import annotations

from dataclasses import dataclass, field

from ...calibration.images import Fit
from .findings import DrawnAs
from .labels import Labels

BOX_SCORE = 0.3
PIXEL_SCORE = 0.5


@dataclass(frozen=True, slots=True, kw_only=True)
class DemoSettings:
    """Settings of a demo.

    Attributes:
        kind: what outputs are drawn as; None leaves it to their shapes.
        score: least score of a box, or of a pixel of a mask with one channel; None is 0.3 and 0.5.
        top: how many classes of a picture are shown.
        fit: what is done with pictures of another size than the engine takes; None is what its recipe says.
        unit: width and height of what boxes are in, as 1 by 1 for fractions; None is the image that the engine takes.
        background: class of a mask that is left clear; None is that called background.
        most: pictures that are drawn.
        on: address of the place where engines run; None is the nearest.
    """

    kind: DrawnAs | None = None
    labels: Labels = field(default_factory=Labels)
    score: float | None = None
    top: int = 3
    fit: Fit | None = None
    unit: tuple[float, float] | None = None
    background: int | None = None
    most: int = 64
    on: str | None = None

    @property
    def clear(self) -> int | None:
        """The class of a mask that is not coloured."""
        return self.labels.background if self.background is None else self.background
