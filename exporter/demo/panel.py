"""One engine's picture with what stands above and below it, and several of them side by side."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from PIL import Image, ImageDraw

from .drawing import text_size
from .findings import Classes, Masks
from .ink import line_height, readable, shortened, width_of, write
from .palette import BACK, PAPER, QUIET, RAIL, Colour, colour_of

_NARROWEST = 448
_GAP = 16
_REGIONS = 8
_LEAST_SHARE = 0.001


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """A line below a picture.

    Attributes:
        share: length of its bar, 0..1.
        colour: None is no square beside it.
    """

    name: str
    figure: str
    share: float
    colour: Colour | None


def class_rows(found: Classes, size: int) -> tuple[Row, ...]:
    """The best classes, each with its score as a bar."""
    return tuple(
        Row(name=_drawable(one.name, one.label, size), figure=f"{one.score:.1%}", share=one.score, colour=None)
        for one in found.top
    )


def region_rows(found: Masks, clear: int | None, size: int) -> tuple[Row, ...]:
    """The regions of a mask, with their colours."""
    shown = [one for one in found.regions if one.share >= _LEAST_SHARE][:_REGIONS]
    return tuple(
        Row(
            name=_drawable(one.name, one.label, size) + (" (clear)" if one.label == clear else ""),
            figure=f"{one.share:.1%}",
            share=one.share,
            colour=RAIL if one.label == clear else colour_of(one.label),
        )
        for one in shown
    )


def panel(image: Image.Image, title: str, said: str, rows: Sequence[Row], most_rows: int) -> Image.Image:
    """A picture under its title and over its rows.

    Args:
        said: on the right of the title.
        most_rows: of all panels beside this one, so that all are of one height.
    """
    size = text_size((image.height, image.width))
    line, wide = line_height(size), max(image.width, _NARROWEST)
    head, below = round(line * 1.6), round(line * 1.35) * most_rows + (_GAP if most_rows else 0)
    made = Image.new("RGB", (wide, head + image.height + below), BACK)
    draw = ImageDraw.Draw(made)
    right = width_of(said, size)
    write(draw, (0, (head - line) / 2), shortened(title, size, wide - right - size), size, PAPER)
    write(draw, (wide - right, (head - line) / 2), said, size, QUIET)
    made.paste(image, ((wide - image.width) // 2, head))
    for number, row in enumerate(rows):
        _row(draw, row, head + image.height + _GAP + number * round(line * 1.35), wide, size)
    return made


def joined(panels: Sequence[Image.Image]) -> Image.Image:
    """Panels side by side on one ground."""
    width = sum(one.width for one in panels) + _GAP * (len(panels) + 1)
    made = Image.new("RGB", (width, max(one.height for one in panels) + _GAP), BACK)
    left = _GAP
    for one in panels:
        made.paste(one, (left, 0))
        left += one.width + _GAP
    return made


def _row(draw: ImageDraw.ImageDraw, row: Row, top: int, wide: int, size: int) -> None:
    """A square of the colour, the name, a bar on a rail, the figure."""
    line = line_height(size)
    name_wide, figure_wide = wide * 2 // 5, width_of("100.0%", size)
    left = 0
    if row.colour is not None:
        draw.rectangle((0, top + line // 6, line * 2 // 3, top + line * 5 // 6), fill=row.colour, outline=PAPER)
        left = line
    write(draw, (left, top), shortened(row.name, size, name_wide - left - size), size, PAPER)
    rail = (name_wide, top + line // 4, wide - figure_wide - size, top + line * 3 // 4)
    draw.rectangle(rail, fill=RAIL)
    end = rail[0] + round((rail[2] - rail[0]) * min(1.0, row.share))
    if end > rail[0]:
        draw.rectangle((rail[0], rail[1], end, rail[3]), fill=row.colour or colour_of(1))
    write(draw, (wide - width_of(row.figure, size), top), row.figure, size, PAPER)


def _drawable(name: str, label: int, size: int) -> str:
    return readable(name, f"class {label}", size)
