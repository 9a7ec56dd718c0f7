"""What engines gave for one picture: read, held against one another, and drawn."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from PIL import Image

from ...backends.base import Array
from ...calibration.images import upright
from .boxes import boxes_agreement, read_boxes
from .classes import classes_agreement, read_classes, shares
from .drawing import draw_boxes, draw_mask, drawn_size, enlarged, shaded, text_size
from .engines import DemoEngine
from .findings import Answer, BoxesAgreement, DrawnAgreement, DrawnAs
from .masks import mask_of, masks_agreement, read_mask
from .panel import Row, class_rows, region_rows
from .pictures import NamedPicture
from .settings import DemoSettings

Engines: TypeAlias = Sequence[DemoEngine]
Outputs: TypeAlias = Sequence[Mapping[str, Array]]
"""Of each engine for one picture, by what they are read as, without the axis of the batch."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PictureRead:
    """What engines gave for a picture, and it drawn by each: the image, and the rows below."""

    found: tuple[Answer, ...]
    agreements: tuple[DrawnAgreement, ...]
    drawn: tuple[tuple[Image.Image, tuple[Row, ...]], ...]


def read_picture(subjects: Engines, arrays: Outputs, given: NamedPicture, asked: DemoSettings) -> PictureRead:
    """What the engines gave for a picture, as what their outputs are.

    Raises:
        InputError: values that are no numbers, or that cannot be what they are to be drawn as.
    """
    return _READERS[subjects[0].roles.kind](subjects, arrays, given, asked)


def _boxes(subjects: Engines, arrays: Outputs, given: NamedPicture, asked: DemoSettings) -> PictureRead:
    size = given.picture.size
    found = [read_boxes(one, s.taking.fitting(size), asked) for s, one in zip(subjects, arrays, strict=True)]
    agreements = [boxes_agreement(found[0], other) for other in found[1:]]
    drawn = []
    for number, (subject, one) in enumerate(zip(subjects, found, strict=True)):
        image = shaded(_ground(given, len(subjects)), subject.taking.fitting(size))
        draw_boxes(image, one, size, _alone(agreements, number))
        drawn.append((image, ()))
    return PictureRead(found=tuple(found), agreements=tuple(agreements), drawn=tuple(drawn))


def _alone(agreements: Sequence[BoxesAgreement], number: int) -> set[int]:
    """Boxes of an engine that the first lacks; of the first those that no other has."""
    if not agreements:
        return set()
    if number:
        return {lone.box for lone in agreements[number - 1].only_second}
    return set.intersection(*({lone.box for lone in one.only_first} for one in agreements))


def _classes(subjects: Engines, arrays: Outputs, given: NamedPicture, asked: DemoSettings) -> PictureRead:
    scores, softmax = shares([one["scores"] for one in arrays])
    found = tuple(read_classes(one, softmax, asked) for one in scores)
    image = _ground(given, len(subjects))
    return PictureRead(
        found=found,
        agreements=tuple(classes_agreement(scores[0], other, asked.top) for other in scores[1:]),
        drawn=tuple(
            (
                shaded(image, s.taking.fitting(given.picture.size)),
                class_rows(one, text_size((image.height, image.width))),
            )
            for s, one in zip(subjects, found, strict=True)
        ),
    )


def _masks(subjects: Engines, arrays: Outputs, given: NamedPicture, asked: DemoSettings) -> PictureRead:
    image = _ground(given, len(subjects))
    size = (image.height, image.width)
    masks = [
        mask_of(one["mask"], subject.taking.fitting(given.picture.size), asked, size)
        for subject, one in zip(subjects, arrays, strict=True)
    ]
    found = tuple(read_mask(mask, asked.labels) for mask in masks)
    return PictureRead(
        found=found,
        agreements=tuple(masks_agreement(masks[0], other, asked.labels) for other in masks[1:]),
        drawn=tuple(
            (draw_mask(image, mask, asked.clear), region_rows(one, asked.clear, text_size(size)))
            for mask, one in zip(masks, found, strict=True)
        ),
    )


_READERS: Mapping[DrawnAs, Callable[[Engines, Outputs, NamedPicture, DemoSettings], PictureRead]] = {
    "boxes": _boxes,
    "classes": _classes,
    "masks": _masks,
}


def _ground(given: NamedPicture, panels: int) -> Image.Image:
    """The picture in the size in which it is drawn."""
    image = upright(given.picture.path, 3)
    return enlarged(image, drawn_size(given.picture.size, panels))
