"""Boxes that an engine gives, and which of two engines' boxes are the same."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import numpy.typing as npt

from ...backends.base import Array
from ...errors import InputError
from .findings import Box, Boxes, BoxesAgreement, Lone
from .fitting import Fitting
from .settings import BOX_SCORE, DemoSettings

# Two boxes are one where they cover each other by at least this much: the usual bound of PASCAL VOC (2010).
SAME = 0.5
# How far beyond 0..1 a box that is given in fractions may reach.
_FRACTION = 0.5


def read_boxes(arrays: Mapping[str, Array], fitting: Fitting, asked: DemoSettings) -> Boxes:
    """The boxes of one picture.

    Args:
        arrays: `boxes` (rows, 4), `scores` (rows,), and `classes` (rows,) where there are any; a row of a class below
            0, or of no score above 0, holds no box.

    Raises:
        InputError: shapes that do not fit, or values that are no numbers.
    """
    corners, scores = arrays["boxes"].astype(np.float64), arrays["scores"].astype(np.float64)
    labels = arrays["classes"].astype(np.float64) if "classes" in arrays else np.zeros(len(scores))
    if not corners.shape == (len(scores), 4) == (len(labels), 4):
        raise InputError(f"{len(corners)} boxes, {len(scores)} scores and {len(labels)} classes are given; expected as "
                         "many of each.")  # fmt: skip
    held = ~(labels < 0) & ~(scores <= 0)
    if not (np.isfinite(corners[held]).all() and np.isfinite(scores[held]).all() and np.isfinite(labels[held]).all()):
        raise InputError("Boxes or scores are no numbers.", hint="`edgepress verify` says whether the engine is right.")
    least = BOX_SCORE if asked.score is None else asked.score
    _check_unit(corners[held & (scores >= least)], asked)
    order = np.argsort(-scores[held], kind="stable")
    moved = fitting.on_picture(corners[held][order], asked.unit)
    numbers = [round(label) if "classes" in arrays else None for label in labels[held][order].tolist()]
    found = [
        Box(corners=(row[0], row[1], row[2], row[3]), score=score, label=label, name=asked.labels(label))
        for row, score, label in zip(moved.tolist(), scores[held][order].tolist(), numbers, strict=True)
    ]
    shown = sum(box.score >= least for box in found)
    return Boxes(shown=tuple(found[:shown]), faint=tuple(found[shown:]))


def _check_unit(corners: npt.NDArray[np.float64], asked: DemoSettings) -> None:
    """Refuse fractions that nobody called so: in pixels they would all be drawn as one dot.

    Raises:
        InputError: every corner lies within the first pixel.
    """
    if asked.unit is None and len(corners) and ((corners >= -_FRACTION) & (corners <= 1 + _FRACTION)).all():
        raise InputError(
            f"All boxes lie between {corners.min():.3g} and {corners.max():.3g}: these are fractions, no pixels.",
            hint="Say so with --boxes-in 1x1. If they are pixels, give that of the image, as in --boxes-in 640x480.",
        )


def boxes_agreement(first: Boxes, second: Boxes) -> BoxesAgreement:
    """Which boxes are in both: pairs of one class before others, of these the closest first."""
    iou = overlaps(first.shown, second.shown)
    same = np.array([[a.label == b.label for b in second.shown] for a in first.shown], bool).reshape(iou.shape)
    pairs = list(_pairs(iou, same))
    ones, others = {one for one, _ in pairs}, {other for _, other in pairs}
    apart = [abs(first.shown[one].score - second.shown[other].score) for one, other in pairs]
    return BoxesAgreement(
        matched=len(pairs),
        iou=tuple(float(iou[pair]) for pair in pairs),
        same_class=sum(bool(same[pair]) for pair in pairs),
        score=max(apart, default=None),
        only_first=_alone(first.shown, ones, second.faint),
        only_second=_alone(second.shown, others, first.faint),
    )


def overlaps(ones: Sequence[Box], others: Sequence[Box]) -> npt.NDArray[np.float64]:
    """Intersection over union of each with each; 0 where both are empty."""
    a, b = (np.array([box.corners for box in boxes], float).reshape(-1, 4) for boxes in (ones, others))
    sides = np.minimum(a[:, None, 2:], b[None, :, 2:]) - np.maximum(a[:, None, :2], b[None, :, :2])
    shared = sides.clip(0).prod(-1)
    areas = [(boxes[:, 2:] - boxes[:, :2]).clip(0).prod(-1) for boxes in (a, b)]
    whole = areas[0][:, None] + areas[1][None] - shared
    found: npt.NDArray[np.float64] = np.divide(shared, whole, out=np.zeros_like(shared), where=whole > 0)
    return found


def _pairs(iou: npt.NDArray[np.float64], same: npt.NDArray[np.bool_]) -> Iterator[tuple[int, int]]:
    able = [(int(one), int(other)) for one, other in zip(*np.nonzero(iou >= SAME), strict=True)]
    ones: set[int] = set()
    others: set[int] = set()
    for pair in sorted(able, key=lambda pair: (not same[pair], -iou[pair])):
        if pair[0] not in ones and pair[1] not in others:
            ones.add(pair[0])
            others.add(pair[1])
            yield pair


def _alone(boxes: Sequence[Box], paired: set[int], faint: Sequence[Box]) -> tuple[Lone, ...]:
    """Those in no pair, each with the best score of what the other engine has there and does not show."""

    def seen(box: Box) -> float | None:
        near = overlaps([box], faint)[0] >= SAME
        return max((b.score for b, n in zip(faint, near, strict=True) if n and b.label == box.label), default=None)

    return tuple(Lone(box=number, faint=seen(box)) for number, box in enumerate(boxes) if number not in paired)
