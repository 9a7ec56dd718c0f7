"""Boxes and masks on a picture, with marks that can be seen on every ground."""

from __future__ import annotations

import math
from collections.abc import Container, Iterator

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw

from ...calibration.images import Size
from .findings import Box, Boxes
from .fitting import UNSEEN, Fitting, Mask
from .ink import Rectangle, free_place, readable, shortened, tag
from .palette import INK, colour_of

# Sides of what is drawn, in pixels: one picture, or each of several beside one another.
_LEAST, _MOST_ALONE, _MOST_BESIDE = 448, 1280, 960
# From this factor on a picture is enlarged pixel by pixel, so that these can be seen.
_BLOCKS = 4
_VEIL, _SHADE = 0.55, 0.25
_DASH = 4  # lengths of a dash in widths of the line


def drawn_size(picture: Size, panels: int) -> Size:
    """Height and width in which a picture is drawn: a small one is enlarged by a whole number, a large one reduced."""
    longest = max(picture)
    most = _MOST_ALONE if panels == 1 else _MOST_BESIDE
    if longest > most:
        return max(1, round(picture[0] * most / longest)), max(1, round(picture[1] * most / longest))
    factor = -(-_LEAST // longest)
    return picture[0] * factor, picture[1] * factor


def enlarged(image: Image.Image, size: Size) -> Image.Image:
    """The picture in a size of `drawn_size`."""
    blocks = size[0] >= _BLOCKS * image.height
    way = Image.Resampling.NEAREST if blocks else Image.Resampling.LANCZOS
    return image if (image.height, image.width) == size else image.resize((size[1], size[0]), way)


def text_size(size: Size) -> int:
    """Height of letters on a picture of a size."""
    return max(14, round(max(size) / 50))


def line_width(size: Size) -> int:
    """Of a box on a picture of a size."""
    return max(3, round(max(size) / 240))


def draw_boxes(image: Image.Image, found: Boxes, picture: Size, alone: Container[int]) -> None:
    """The boxes that are shown, the best on top; dashed are those that only this engine shows.

    Args:
        picture: height and width that the corners are in.
        alone: places of the dashed ones.
    """
    draw, size = ImageDraw.Draw(image), (image.height, image.width)
    scale = image.width / picture[1], image.height / picture[0]
    placed: list[Rectangle] = []
    tags = []
    for number, box in enumerate(found.shown):
        left, top, right, bottom = (c * scale[i % 2] for i, c in enumerate(box.corners))
        text = shortened(_tag_text(box, text_size(size)), text_size(size), image.width - text_size(size))
        place = free_place((left, top, right, bottom), text, text_size(size), image.size, placed)
        placed.append(place)
        tags.append((box, (left, top, right, bottom), text, place, number in alone))
    for box, edges, _, _, dashed in reversed(tags):
        _rectangle(draw, edges, box.label, line_width(size), dashed)
    for box, _, text, place, _ in reversed(tags):
        tag(draw, text, text_size(size), colour_of(box.label), place)


def _tag_text(box: Box, size: int) -> str:
    return f"{readable(box.name, 'object' if box.label is None else f'class {box.label}', size)} {box.score:.2f}"


def _rectangle(draw: ImageDraw.ImageDraw, edges: Rectangle, label: int | None, width: int, dashed: bool) -> None:
    """The middle of each line is where the box ends; a dark seam sets it off from ground of its own colour."""
    for seam, colour in ((1, INK), (0, colour_of(label))):
        for line in _lines(edges, width):
            for left, top, right, bottom in _dashes(line, width) if dashed else [line]:
                draw.rectangle((left - seam, top - seam, right + seam - 1, bottom + seam - 1), fill=colour)


def _lines(edges: Rectangle, width: int) -> Iterator[tuple[int, int, int, int]]:
    left, top, right, bottom = (math.floor(edge - width / 2 + 0.5) for edge in edges)
    if right < left or bottom < top:
        return  # a box turned inside out has no edges; its tag stays
    yield (left, top, right + width, top + width)
    yield (left, bottom, right + width, bottom + width)
    yield (left, top, left + width, bottom + width)
    yield (right, top, right + width, bottom + width)


def _dashes(line: tuple[int, int, int, int], width: int) -> Iterator[tuple[int, int, int, int]]:
    left, top, right, bottom = line
    step, across = 2 * _DASH * width, right - left > bottom - top
    for start in range(left if across else top, right if across else bottom, step):
        if across:
            yield (start, top, min(start + step // 2, right), bottom)
        else:
            yield (left, start, right, min(start + step // 2, bottom))


def shaded(image: Image.Image, fitting: Fitting) -> Image.Image:
    """The picture, dark where the engine did not see it, since it was cropped away."""
    unseen = fitting.spread(np.zeros((1, 1), np.int64), (image.height, image.width)) == UNSEEN
    if not unseen.any():
        return image
    pixels = np.asarray(image, np.float64).copy()
    pixels[unseen] *= _SHADE
    return Image.fromarray(pixels.round().astype(np.uint8))


def draw_mask(image: Image.Image, mask: Mask, clear: int | None) -> Image.Image:
    """The picture under the colours of its classes, with a dark line where one class ends.

    Args:
        mask: of the size of the image.
        clear: a class that is not coloured.
    """
    labels = [int(label) for label in np.unique(mask)]
    colours = np.array([colour_of(label) for label in labels], np.float64)
    painted = colours[np.searchsorted(labels, mask)]
    pixels = np.asarray(image, np.float64)
    veiled = np.where(_coloured(mask, clear)[..., None], (1 - _VEIL) * pixels + _VEIL * painted, pixels)
    veiled[mask == UNSEEN] *= _SHADE
    veiled[_seams(mask, line_width((image.height, image.width)) // 2)] = INK
    return Image.fromarray(veiled.round().astype(np.uint8))


def _coloured(mask: Mask, clear: int | None) -> npt.NDArray[np.bool_]:
    found: npt.NDArray[np.bool_] = (mask != UNSEEN) & (True if clear is None else mask != clear)
    return found


def _seams(mask: Mask, reach: int) -> npt.NDArray[np.bool_]:
    """Pixels beside which, to the right or below, another class is."""
    found = np.zeros(mask.shape, bool)
    for step in range(1, reach + 1):
        found[:, :-step] |= mask[:, :-step] != mask[:, step:]
        found[:-step] |= mask[:-step] != mask[step:]
    return found
