"""Scenes composed of Fashion-MNIST: clothes of all colours and sizes on a ground that is not plain."""

from __future__ import annotations

import functools
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from _fashion import TEST, TRAIN, pictures
from numpy.typing import NDArray
from torch.nn import functional

NAMES = ("top", "trousers", "dress", "shoe", "bag")
SIZE = 96
MOST = 5
"""Clothes in a scene, at most."""
# Of the ten classes of Fashion-MNIST; T-shirt, pullover, coat and shirt look much alike at this size, and so do shoes.
_KIND = np.array([0, 1, 0, 2, 0, 3, 0, 3, 4, 3])
# Sides in pixels, of pictures that are 28.
_SMALLEST, _LARGEST = 20, 48
_INK = 24  # of 255, from which a pixel belongs to the clothes
_OVERLAP = 0.3  # of the smaller of two boxes, at most
_TRIES = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class Scenes:
    """A batch.

    Attributes:
        images: uint8 (N, 96, 96, 3).
        boxes: float32 (N, MOST, 4), corners in pixels; zeros where a scene has fewer clothes.
        classes: int64 (N, MOST), places in `NAMES`; -1 where there are none.
        masks: int64 (N, 96, 96): 0 is the ground, others are places in `NAMES` and one.
    """

    images: NDArray[np.uint8]
    boxes: NDArray[np.float32]
    classes: NDArray[np.int64]
    masks: NDArray[np.int64]


def scenes(count: int, *, batch: int, seed: int, held_out: bool = False) -> Iterator[Scenes]:
    """Batches of scenes that the seed decides.

    Args:
        held_out: of pictures that no scene for training has.
    """
    rng = np.random.default_rng((seed, int(held_out)))
    for start in range(0, count, batch):
        yield _joined([_scene(rng, TEST if held_out else TRAIN) for _ in range(min(batch, count - start))])


@functools.cache
def _clothes(part: str) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    images, labels = pictures(part)
    return images, _KIND[labels]


def _joined(many: list[Scenes]) -> Scenes:
    fields = ("images", "boxes", "classes", "masks")
    return Scenes(**{name: np.stack([getattr(one, name) for one in many]) for name in fields})


def _scene(rng: np.random.Generator, part: str) -> Scenes:
    images, kinds = _clothes(part)
    picture, mask = _ground(rng), np.zeros((SIZE, SIZE), np.int64)
    boxes, classes = np.zeros((MOST, 4), np.float32), np.full(MOST, -1)
    for index in range(int(rng.integers(1, MOST + 1))):
        which = int(rng.integers(len(kinds)))
        ink = _enlarged(images[which], int(rng.integers(_SMALLEST, _LARGEST + 1)))
        place = _place(rng, ink, boxes[:index])
        if place is None:
            continue
        y, x = place
        window = slice(y, y + ink.shape[0]), slice(x, x + ink.shape[1])
        share = np.clip(ink / 128, 0, 1)[..., None]
        colour = rng.uniform(0.4, 1, 3)
        picture[window] = share * ink[..., None] * colour + (1 - share) * picture[window]
        mask[window][ink > _INK] = kinds[which] + 1
        boxes[index], classes[index] = _box(ink, x, y), kinds[which]
    noisy = picture + rng.normal(0, 6, picture.shape)
    return Scenes(images=noisy.clip(0, 255).astype(np.uint8), boxes=boxes, classes=classes, masks=mask)


def _ground(rng: np.random.Generator) -> NDArray[np.float64]:
    """A dark colour that changes from one corner to the other."""
    corners = torch.from_numpy(rng.uniform(0, 110, (1, 3, 3, 3)))
    return (
        functional.interpolate(corners, size=(SIZE, SIZE), mode="bilinear", align_corners=True)[0]
        .permute(1, 2, 0)
        .numpy()
    )


def _enlarged(picture: NDArray[np.uint8], side: int) -> NDArray[np.float32]:
    """The picture at another size, without the empty rows and columns around it."""
    whole = torch.from_numpy(picture.astype(np.float32))[None, None]
    ink = functional.interpolate(whole, size=(side, side), mode="bilinear", align_corners=False)[0, 0].numpy()
    rows, columns = np.nonzero((ink > _INK).any(1))[0], np.nonzero((ink > _INK).any(0))[0]
    return ink[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]


def _place(rng: np.random.Generator, ink: NDArray[np.float32], others: NDArray[np.float32]) -> tuple[int, int] | None:
    """Upper left corner where it covers little of the others; None where there is no room."""
    for _ in range(_TRIES):
        y, x = (int(rng.integers(0, SIZE - side + 1)) for side in ink.shape)
        box = _box(ink, x, y)
        sides = (np.minimum(box[2:], others[:, 2:]) - np.maximum(box[:2], others[:, :2])).clip(0)
        smaller = np.minimum(ink.size, (others[:, 2:] - others[:, :2]).prod(1))
        if (sides.prod(1) <= _OVERLAP * smaller).all():
            return y, x
    return None


def _box(ink: NDArray[np.float32], x: int, y: int) -> NDArray[np.float32]:
    return np.array([x, y, x + ink.shape[1], y + ink.shape[0]], np.float32)
