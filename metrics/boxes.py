"""How well boxes are found: COCO's mean average precision, by pycocotools."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from ..errors import InputError
from .library import Array, library, need_samples, one_of

# Areas that COCO calls "all" end here (pycocotools' Params.areaRng).
_LARGEST = 1e10


class MeanAveragePrecision:
    """Mean over classes, and over intersections over union from 0.5 to 0.95, of the average precision.

    Args:
        boxes, scores, classes: names of the model's outputs: (B, R, 4) corners, (B, R) and (B, R), as
            `edgepress.boxes.select` gives them. Rows of the score 0 hold no box.
        iou: one intersection over union in place of those ten, such as 0.5.

    Raises:
        InputError: `iou` is not one, or pycocotools is not installed.
    """

    def __init__(
        self, boxes: str = "boxes", scores: str = "scores", classes: str = "classes", *, iou: float | None = None
    ) -> None:
        if iou is not None and not 0 <= iou <= 1:
            raise InputError(f"MeanAveragePrecision was given iou={iou}; expected 0 to 1.")
        self._names = boxes, scores, classes
        self._coco, self._eval = (
            library("pycocotools.coco", "pycocotools"),
            library("pycocotools.cocoeval", "pycocotools"),
        )
        self._iou = iou
        self._pictures = 0
        self._wanted: list[dict[str, Any]] = []
        self._found: list[dict[str, Any]] = []

    def add(self, outputs: Mapping[str, Array], *, boxes: Array, classes: Array) -> None:
        """What a model gave for some pictures, beside what is in them.

        Args:
            outputs: of the model, by name.
            boxes: (B, M, 4), corners.
            classes: (B, M); negative where a picture has fewer than M.

        Raises:
            InputError: there is no such output, it is of another number of pictures, or boxes or scores are none.
        """
        found = [one_of(outputs, name) for name in self._names]
        shapes = [a.shape for a in (*found, boxes, classes)]
        if len({shape[0] for shape in shapes}) != 1 or [len(s) for s in shapes] != [3, 2, 2, 3, 2]:
            raise InputError(
                f"The shapes of boxes, scores, classes and of what was to be found are {', '.join(map(str, shapes))}; "
                "expected (B, R, 4), (B, R), (B, R), (B, M, 4) and (B, M).",
                hint="Give the outputs as `edgepress.boxes.select` returns them, a row of zeros where there is no box.",
            )
        self._check(boxes, classes >= 0, found[1])
        for picture in range(len(boxes)):
            self._pictures += 1
            self._wanted += self._listed(boxes[picture], classes[picture], classes[picture] >= 0, len(self._wanted))
            corners, scores, kinds = (a[picture] for a in found)
            listed = self._listed(corners, kinds, scores > 0, len(self._found))
            self._found += [{**one, "score": float(s)} for one, s in zip(listed, scores[scores > 0], strict=True)]

    @property
    def value(self) -> float:
        """Between 0 and 1.

        Raises:
            InputError: nothing was given, or there was nothing to find.
        """
        need_samples(self._pictures)
        if not self._wanted:
            raise InputError("No picture has a box that was to be found.", hint="Give the boxes that are in them.")
        kinds = sorted({one["category_id"] for one in self._wanted})
        if not self._found:
            return 0.0
        with contextlib.redirect_stdout(io.StringIO()):  # it tells its progress
            whole = self._coco.COCO()
            whole.dataset = {
                "images": [{"id": picture} for picture in range(1, self._pictures + 1)],
                "annotations": self._wanted,
                "categories": [{"id": kind} for kind in kinds],
                "info": {},
            }
            whole.createIndex()
            judge = self._eval.COCOeval(whole, whole.loadRes(self._found), "bbox")
            if self._iou is not None:
                judge.params.iouThrs = np.array([self._iou])
            judge.evaluate()
            judge.accumulate()
        # Axes: thresholds, recalls, classes, areas (the first is all), most detections (the last is 100).
        precision = judge.eval["precision"][:, :, :, 0, -1]
        return float(precision[precision > -1].mean())

    def _check(self, boxes: Array, held: Array, scores: Array) -> None:
        """Refuse what COCO's code would leave out without a word, or could never find."""
        sides = np.where(held[..., None], boxes[..., 2:] - boxes[..., :2], 1)
        if len(wrong := np.argwhere(~((sides > 0).all(-1) & (sides.prod(-1) < _LARGEST)))):
            picture, row = wrong[0].tolist()
            box, number = boxes[picture, row].tolist(), self._pictures + picture + 1
            raise InputError(
                f"A box to be found is {box} of picture {number}; expected corners "
                "(left, top, right, bottom), right of left and below top.",
                hint="Turn (x, y, width, height) into corners; give boxes that are not there the class -1.",
            )
        if (scores < 0).any():
            raise InputError(
                f"The model gives a score of {scores.min():g}; expected 0 or more, as rows of the score 0 hold no box.",
                hint="Give what sigmoid or softmax makes of them.",
            )

    def _listed(self, boxes: Array, classes: Array, held: Array, before: int) -> Iterator[dict[str, Any]]:
        """As COCO writes boxes: corner, width and height."""
        for index, (box, kind) in enumerate(zip(boxes[held].tolist(), classes[held].tolist(), strict=True)):
            x, y, width, height = box[0], box[1], box[2] - box[0], box[3] - box[1]
            yield {
                "id": before + index + 1,
                "image_id": self._pictures,
                "category_id": int(kind),
                "bbox": [x, y, width, height],
                "area": width * height,
                "iscrowd": 0,
            }
