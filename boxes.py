"""From what a detector's heads give to boxes: decoding and non-maximum suppression, in torch, for a model's forward.

A model that ends in `select` is exported with its suppression inside, as ONNX's NonMaxSuppression, which onnxruntime,
OpenVINO and TensorRT read, and gives a fixed number of rows. `torchvision.ops.nms` and `batched_nms` are exported as
well, where torchvision is installed; what they give has a number of rows that depends on the picture.

Boxes are corners: x of the left, y of the top, x of the right, y of the bottom, in any unit.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn import functional

from .errors import InputError

NO_CLASS = -1
"""The class of a row that holds no box."""


def select(
    boxes: Tensor, scores: Tensor, *, iou: float = 0.5, score: float = 0.05, rows: int = 100, agnostic: bool = False
) -> tuple[Tensor, Tensor, Tensor]:
    """The best boxes of each picture, without those that cover nearly the same as a better one.

    Args:
        boxes: float32 (B, N, 4), the same for all classes.
        scores: float32 (B, C, N).
        iou: a box is dropped where its intersection over union with a better one is larger.
        score: only boxes with more count; at least 0.
        rows: how many boxes a picture gets; those that are missing are rows of zeros, and of the class -1.
        agnostic: a box counts for its best class only, and drops boxes of every class; else each class is by itself.

    Returns:
        Boxes (B, rows, 4), scores (B, rows) from the best down, and classes (B, rows), int64. Of equal scores at
        the end those of the first class, and in it the first boxes, are in, on every runtime; in which order equal
        scores are listed is the runtime's matter.

    Raises:
        InputError: shapes do not fit each other, or a threshold is out of range.
    """
    _check(boxes, scores, iou, score, rows)
    classes = None
    if agnostic:
        best, classes = scores.max(dim=1)
        scores = best.unsqueeze(1)
    # No class can have more among the best `rows` of all.
    kept = _in_float32(boxes, scores, iou, score, rows).flatten(1)
    values, places = _best(kept, min(rows, kept.shape[1]))
    if (missing := rows - kept.shape[1]) > 0:
        values, places = (functional.pad(each, (0, missing)) for each in (values, places))
    found = values > 0
    # Looked up rather than divided: exporters divide integers as floating point, which a runtime may round.
    of_class, of_box = (numbers.to(boxes.device)[places] for numbers in _numbers(scores.shape[1], scores.shape[2]))
    named = of_class if classes is None else classes.gather(1, of_box)
    taken = boxes.gather(1, of_box.unsqueeze(-1).expand(-1, -1, 4))
    return (
        torch.where(found.unsqueeze(-1), taken, torch.zeros_like(taken)),
        values,
        torch.where(found, named, torch.full_like(named, NO_CLASS)),
    )


def suppress(boxes: Tensor, scores: Tensor, *, iou: float = 0.5, score: float = 0.05, most: int = 100) -> Tensor:
    """The scores, with 0 in place of those whose box is dropped: what `select` chooses its rows from.

    Args:
        boxes: float32 (B, N, 4).
        scores: float32 (B, C, N).
        iou, score: as of `select`.
        most: how many boxes a class of a picture keeps.

    Raises:
        InputError: shapes do not fit each other, or a threshold is out of range.
    """
    _check(boxes, scores, iou, score, most)
    return _in_float32(boxes, scores, iou, score, most).to(scores.dtype)


def _in_float32(boxes: Tensor, scores: Tensor, iou: float, score: float, most: int) -> Tensor:
    """What ONNX's NonMaxSuppression takes, of any float."""
    kept: Tensor = torch.ops.edgepress.suppress(boxes.float(), scores.float(), iou, score, most)
    return kept


def grid_points(sizes: Sequence[tuple[int, int]], strides: Sequence[int]) -> Tensor:
    """The centres of the cells of feature maps, in pixels of the picture, row by row: float32 (N, 2) of x and y.

    Args:
        sizes: height and width of each map.
        strides: pixels between two cells, for each map.
    """
    points = []
    for (height, width), stride in zip(sizes, strides, strict=True):
        y, x = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
        points.append((torch.stack((x, y), dim=-1).reshape(-1, 2) + 0.5) * stride)
    return torch.cat(points).float()


def from_distances(points: Tensor, distances: Tensor) -> Tensor:
    """Corners from each point's distances to the left, top, right and bottom edge, as FCOS gives them.

    Args:
        points: (N, 2) of x and y.
        distances: (B, N, 4), in the unit of the points.
    """
    return torch.cat((points - distances[..., :2], points + distances[..., 2:]), dim=-1)


def from_offsets(anchors: Tensor, offsets: Tensor, scales: Sequence[float] = (1.0, 1.0, 1.0, 1.0)) -> Tensor:
    """Corners from offsets to anchors, as R-CNN and SSD give them (Girshick et al., 2014, appendix C).

    Args:
        anchors: corners (N, 4).
        offsets: (B, N, 4): shifts of the centre in widths and heights of the anchor, logarithms of what these grow by.
        scales: what the four are divided by; SSD's are (10, 10, 5, 5).
    """
    size = anchors[:, 2:] - anchors[:, :2]
    scaled = offsets / offsets.new_tensor(scales)
    return from_centres(anchors[:, :2] + size / 2 + scaled[..., :2] * size, size * scaled[..., 2:].exp())


def from_centres(centres: Tensor, sizes: Tensor) -> Tensor:
    """Corners from centres (..., 2) and widths and heights (..., 2), as YOLO gives them."""
    return torch.cat((centres - sizes / 2, centres + sizes / 2), dim=-1)


def _best(scores: Tensor, rows: int) -> tuple[Tensor, Tensor]:
    """The largest scores of (B, M), from the best down, and their places; of equals at the end the first.

    Which of equal values TopK takes is left open by torch, and OpenVINO takes others than ONNX defines. So it is asked
    again, with keys that differ wherever it matters: all beyond the last score are in, whichever come first.
    """
    last = scores.topk(rows, dim=1).values[:, -1:]
    # 0, -1, -2, ...: float32 counts to 2**24, which is more candidates than anybody has.
    first = -torch.arange(scores.shape[1], device=scores.device, dtype=scores.dtype)
    among = torch.where(scores == last, first, torch.full_like(scores, -float(scores.shape[1])))
    chosen = torch.where(scores > last, torch.ones_like(scores), among).topk(rows, dim=1).indices
    values, order = scores.gather(1, chosen).topk(rows, dim=1)
    return values, chosen.gather(1, order)


def _numbers(classes: int, boxes: int) -> tuple[Tensor, Tensor]:
    """The class and the box of each place in scores of (classes, boxes), laid out flat."""
    rows, columns = torch.arange(classes)[:, None], torch.arange(boxes)[None]
    return rows.expand(-1, boxes).flatten(), columns.expand(classes, -1).flatten()


@torch.library.custom_op("edgepress::suppress", mutates_args=())
def _suppress(boxes: Tensor, scores: Tensor, iou: float, score: float, most: int) -> Tensor:
    kept = np.zeros(scores.shape, np.float32)
    given, corners = scores.detach().cpu().float().numpy(), boxes.detach().cpu().float().numpy()
    # Of ONNX's NonMaxSuppression any two opposite corners make a box.
    corners = np.concatenate(
        (np.minimum(corners[..., :2], corners[..., 2:]), np.maximum(corners[..., :2], corners[..., 2:])), axis=-1
    )
    for picture, one in enumerate(corners):
        for number, of_class in enumerate(given[picture]):
            found = _kept(one, of_class, iou, score, most)
            kept[picture, number, found] = of_class[found]
    return torch.from_numpy(kept).to(scores)


@_suppress.register_fake
def _(boxes: Tensor, scores: Tensor, iou: float, score: float, most: int) -> Tensor:
    return torch.empty_like(scores)


def _kept(
    boxes: npt.NDArray[np.float32], scores: npt.NDArray[np.float32], iou: float, score: float, most: int
) -> list[int]:
    """Places of the boxes that stay, from the best down; of equals the first, as ONNX's NonMaxSuppression does."""
    (candidates,) = np.nonzero(scores > score)
    left = candidates[np.argsort(-scores[candidates], kind="stable")]
    kept: list[int] = []
    while len(left) and len(kept) < most:
        kept.append(int(left[0]))
        left = left[1:][_overlaps(boxes[left[0]], boxes[left[1:]]) <= iou]
    return kept


def _overlaps(box: npt.NDArray[np.float32], others: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """Intersection over union of a box with others; 0 where one of the two is empty."""
    sides = np.minimum(box[2:], others[:, 2:]) - np.maximum(box[:2], others[:, :2])
    shared = sides.clip(0).prod(axis=1)
    area = (box[2:] - box[:2]).clip(0).prod()
    areas = (others[:, 2:] - others[:, :2]).clip(0).prod(axis=1)
    whole = area + areas - shared
    overlaps: npt.NDArray[np.float32] = np.divide(shared, whole, out=np.zeros_like(shared), where=whole > 0)
    return overlaps


def _check(boxes: Tensor, scores: Tensor, iou: float, score: float, rows: int) -> None:
    if boxes.ndim != 3 or scores.ndim != 3 or boxes.shape[2] != 4 or boxes.shape[1] != scores.shape[2]:
        raise InputError(
            f"Boxes have the shape {tuple(boxes.shape)} and scores {tuple(scores.shape)}; expected (B, N, 4) and "
            "(B, C, N).",
            hint="Transpose scores of (B, N, C), and put an axis of length 1 before those of one picture.",
        )
    if not (0 <= iou <= 1 and score >= 0 and rows >= 1):
        raise InputError(
            f"iou={iou}, score={score} and {rows} rows are given; expected 0..1, at least 0 and at least 1."
        )
