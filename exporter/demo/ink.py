"""Text on pictures: a font that every machine has, and boxes of text that never hide one another."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterable
from functools import cache
from pathlib import Path
from typing import TypeAlias

from PIL import ImageDraw, ImageFont

from .palette import Colour, text_on

Font: TypeAlias = ImageFont.FreeTypeFont | ImageFont.ImageFont
Rectangle: TypeAlias = tuple[float, float, float, float]
_ELLIPSIS = "..."
_FONT = "DejaVuSans.ttf"
# A character that no font has: what is drawn for it is what stands for all that are missing.
_MISSING = "\uffff"


@cache
def font(size: int) -> Font:
    """DejaVu Sans, which has the letters of most of Europe and which matplotlib brings, or else Pillow's own."""
    found = importlib.util.find_spec("matplotlib")
    places = () if found is None else found.submodule_search_locations or ()
    brought = [file for place in places if (file := Path(place) / "mpl-data" / "fonts" / "ttf" / _FONT).is_file()]
    try:
        return ImageFont.truetype(str(brought[0]) if brought else _FONT, size)  # by name it is looked for in the system
    except OSError:
        return ImageFont.load_default(size)


def readable(text: str, instead: str, size: int) -> str:
    """The text where the font has all of its letters, else what is drawn instead."""
    return text if all(_has(letter, size) for letter in set(text)) else instead


@cache
def _has(letter: str, size: int) -> bool:
    used = font(size)
    if isinstance(used, ImageFont.ImageFont):
        return letter.isascii()
    return letter.isspace() or bytes(used.getmask(letter)) != bytes(used.getmask(_MISSING))


def width_of(text: str, size: int) -> int:
    """Pixels that a line takes."""
    return int(font(size).getlength(text) + 0.999)


def line_height(size: int) -> int:
    """Pixels from one line to the next."""
    return round(size * 1.35)


def shortened(text: str, size: int, width: int) -> str:
    """The text, or as much of its beginning as fits into a width."""
    if width_of(text, size) <= width:
        return text
    kept = next((n for n in range(len(text) - 1, 0, -1) if width_of(text[:n] + _ELLIPSIS, size) <= width), 0)
    return text[:kept].rstrip() + _ELLIPSIS


def write(draw: ImageDraw.ImageDraw, at: tuple[float, float], text: str, size: int, colour: Colour) -> None:
    """A line, its middle at the middle of the line's height."""
    draw.text((at[0], at[1] + line_height(size) / 2), text, font=font(size), fill=colour, anchor="lm")


def tag(draw: ImageDraw.ImageDraw, text: str, size: int, colour: Colour, place: Rectangle) -> None:
    """A line on its own colour."""
    left, top, right, bottom = place
    draw.rectangle((left, top, right - 1, bottom - 1), fill=colour)
    write(draw, (left + _pad(size), top), text, size, text_on(colour))


def free_place(box: Rectangle, text: str, size: int, bounds: tuple[int, int], taken: Iterable[Rectangle]) -> Rectangle:
    """Where the tag of a box goes: above it, in it, below it, whichever is free, within a width and height."""
    wide, high = min(width_of(text, size) + 2 * _pad(size), bounds[0]), line_height(size)
    left, top, right, bottom = box
    at = [(left, top - high), (left, top), (right - wide, top - high), (left, bottom), (left, bottom - high),
          (right - wide, bottom - high), (right - wide, bottom)]  # fmt: skip
    places = [_within((x, y, x + wide, y + high), bounds) for x, y in at]
    others = list(taken)
    return min(places, key=lambda place: sum(_shared(place, other) for other in others))


def _pad(size: int) -> int:
    return max(2, size // 4)


def _within(place: Rectangle, bounds: tuple[int, int]) -> Rectangle:
    left, top, right, bottom = place
    x = max(0.0, min(left, bounds[0] - (right - left)))
    y = max(0.0, min(top, bounds[1] - (bottom - top)))
    return (round(x), round(y), round(x) + right - left, round(y) + bottom - top)


def _shared(one: Rectangle, other: Rectangle) -> float:
    """Area that both cover."""
    width = min(one[2], other[2]) - max(one[0], other[0])
    height = min(one[3], other[3]) - max(one[1], other[1])
    return max(0.0, width) * max(0.0, height)
