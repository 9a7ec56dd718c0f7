"""A small single-stage detector that finds clothes in scenes: SiLU, a feature pyramid, boxes in the engine.

    sudo apt-get install dataset-fashion-mnist
    edgepress export examples/detector.py --target NAME

Input ``image``: uint8 (N, 96, 96, 3), red first. Outputs: ``boxes`` float32 (N, 20, 4), corners in pixels; ``scores``
float32 (N, 20), from the best down, 0 where there is no box; ``classes`` int64 (N, 20), places in ``_scenes.NAMES``.
What the network computes is that of Tian et al., "FCOS: Fully Convolutional One-Stage Object Detection" (2019), without
its centre-ness; the pyramid is that of Lin et al., "Feature Pyramid Networks for Object Detection" (2017).
"""

from __future__ import annotations

import functools
from collections.abc import Iterable, Iterator
from typing import Any

import torch
from _scenes import NAMES, SIZE, Scenes, scenes
from _task import Predict
from _training import Batch, trained
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits, interpolate, one_hot, softplus

from edgepress.boxes import from_distances, grid_points, select
from edgepress.metrics import MeanAveragePrecision

_STRIDES = (8, 16)
_POINTS = grid_points([(SIZE // stride, SIZE // stride) for stride in _STRIDES], _STRIDES)
_WIDTH = 48
# The larger side in pixels up to which clothes belong to the finer level.
_FINE = 32
_BATCH, _BATCHES, _HELD_OUT = 32, 64, 1000


class Pyramid(nn.Module):
    """Features at a stride of 8 and of 16, each of 48 channels, the finer one with what the coarser one saw."""

    def __init__(self) -> None:
        super().__init__()
        self.finer = nn.Sequential(
            _convolution(3, 16, 2), _convolution(16, 32, 2), _convolution(32, 32), _convolution(32, 64, 2)
        )
        self.coarser = nn.Sequential(_convolution(64, 64), _convolution(64, 96, 2), _convolution(96, 96))
        self.from_finer, self.from_coarser = nn.Conv2d(64, _WIDTH, 1), nn.Conv2d(96, _WIDTH, 1)
        self.smooth = _convolution(_WIDTH, _WIDTH)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Of (N, 3, H, W)."""
        fine = self.finer(x)
        coarse = self.from_coarser(self.coarser(fine))
        enlarged = interpolate(coarse, scale_factor=2.0, mode="nearest")
        return self.smooth(self.from_finer(fine) + enlarged), coarse


class Detector(nn.Module):
    """The pyramid, and one head for both of its levels."""

    def __init__(self) -> None:
        super().__init__()
        self.pyramid = Pyramid()
        self.sides = nn.Sequential(_convolution(_WIDTH, _WIDTH), nn.Conv2d(_WIDTH, 4, 1))
        self.kinds = nn.Sequential(_convolution(_WIDTH, _WIDTH), nn.Conv2d(_WIDTH, len(NAMES), 1))
        # So that the many points without clothes do not drown the others at first (Lin et al., Focal Loss, 2017).
        nn.init.constant_(self.kinds[-1].bias, -4.0)

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor]:
        """Before any function that makes them positive: sides (N, 180, 4) in strides, and classes (N, 5, 180)."""
        levels = self.pyramid(image)
        sides = torch.cat([self.sides(level).flatten(2) for level in levels], dim=2)
        kinds = torch.cat([self.kinds(level).flatten(2) for level in levels], dim=2)
        return sides.transpose(1, 2), kinds


def _convolution(inside: int, outside: int, stride: int = 1) -> nn.Sequential:
    convolution = nn.Conv2d(inside, outside, 3, stride, padding=1, bias=False)
    return nn.Sequential(convolution, nn.BatchNorm2d(outside), nn.SiLU())


def model() -> nn.Module:
    """Trained at the first call, for some minutes; the weights are kept in the user's cache."""
    return trained(__file__, Detector, _prepared, loss, epochs=16, rate=4e-3)


def preprocess(image: Tensor) -> Tensor:
    """Bytes (N, H, W, 3) as float32 (N, 3, H, W) in 0..1."""
    return image.permute(0, 3, 1, 2).float() / 255


def postprocess(sides: Tensor, kinds: Tensor) -> dict[str, Tensor]:
    """The boxes that are left of what each point says."""
    boxes, scores, classes = select(_corners(sides), kinds.sigmoid(), iou=0.5, score=0.05, rows=20)
    return {"boxes": boxes, "scores": scores, "classes": classes}


def inputs() -> dict[str, Tensor]:
    """Four scenes for training."""
    return {"image": torch.from_numpy(next(scenes(4, batch=4, seed=0)).images)}


def dynamic() -> dict[str, dict[int, str]]:
    """Any number of scenes at once."""
    return {"image": {0: "batch"}}


def calibration() -> Iterable[dict[str, NDArray[Any]]]:
    """256 scenes for training in batches of 16."""
    return ({"image": batch.images} for batch in scenes(256, batch=16, seed=1))


def evaluate(predict: Predict) -> float:
    """Mean average precision, as COCO defines it, on 1,000 scenes of pictures that are held out."""
    precision = MeanAveragePrecision()
    for batch in _held_out():
        precision.add(predict({"image": batch.images}), boxes=batch.boxes, classes=batch.classes)
    return precision.value


def training(epoch: int = 0) -> Iterator[Batch]:
    """2,048 scenes that ``epoch`` decides."""
    for batch in scenes(_BATCH * _BATCHES, batch=_BATCH, seed=100 + epoch):
        yield {"image": torch.from_numpy(batch.images)}, _wanted(batch)


def loss(outputs: tuple[Tensor, Tensor], targets: tuple[Tensor, Tensor]) -> Tensor:
    """Focal loss of the classes of all points, and generalized IoU of the boxes of those that have clothes."""
    (sides, kinds), (boxes, classes) = outputs, targets
    held = classes >= 0
    wanted = one_hot(classes.clamp(min=0), len(NAMES)).float() * held.unsqueeze(-1)
    count = held.sum().clamp(min=1)
    return (
        _focal(kinds.transpose(1, 2), wanted).sum() / count + _apart(_corners(sides)[held], boxes[held]).sum() / count
    )


@functools.cache
def _held_out() -> list[Scenes]:
    return list(scenes(_HELD_OUT, batch=50, seed=0, held_out=True))


def _prepared(epoch: int) -> Iterator[Batch]:
    for arguments, targets in training(epoch):
        yield {"image": preprocess(arguments["image"])}, targets


def _corners(sides: Tensor) -> Tensor:
    strides = torch.cat([torch.full(((SIZE // stride) ** 2, 1), float(stride)) for stride in _STRIDES])
    return from_distances(_POINTS, softplus(sides) * strides)


def _wanted(batch: Scenes) -> tuple[Tensor, Tensor]:
    """Of each point the box (N, 180, 4) and the class (N, 180) of the clothes in whose middle it is, else -1."""
    boxes, classes = torch.from_numpy(batch.boxes), torch.from_numpy(batch.classes)
    middle, side = (boxes[..., :2] + boxes[..., 2:]) / 2, (boxes[..., 2:] - boxes[..., :2]).amax(-1)
    fine = torch.arange(len(_POINTS)) < (SIZE // _STRIDES[0]) ** 2
    reach = torch.where(fine, 1.5 * _STRIDES[0], 1.5 * _STRIDES[1])[:, None]
    apart = (_POINTS[:, None] - middle[:, None]).abs().amax(-1)  # (N, 180, MOST)
    near = (apart < reach) & (fine[:, None] == (side <= _FINE)[:, None]) & (classes >= 0)[:, None]
    nearest = apart.masked_fill(~near, torch.inf).argmin(-1)
    found = classes.gather(1, nearest).masked_fill(~near.any(-1), -1)
    return boxes.gather(1, nearest.unsqueeze(-1).expand(-1, -1, 4)), found


def _focal(logits: Tensor, wanted: Tensor) -> Tensor:
    """Lin et al. (2017), with their alpha of 0.25 and gamma of 2."""
    entropy = binary_cross_entropy_with_logits(logits, wanted, reduction="none")
    missed = (logits.sigmoid() - wanted).abs()
    return (0.25 * wanted + 0.75 * (1 - wanted)) * missed**2 * entropy


def _apart(found: Tensor, wanted: Tensor) -> Tensor:
    """1 less the generalized IoU of boxes (n, 4) with as many others (Rezatofighi et al., 2019)."""
    shared = (
        (torch.minimum(found[:, 2:], wanted[:, 2:]) - torch.maximum(found[:, :2], wanted[:, :2])).clamp(min=0).prod(1)
    )
    around = (torch.maximum(found[:, 2:], wanted[:, 2:]) - torch.minimum(found[:, :2], wanted[:, :2])).prod(1)
    both = (found[:, 2:] - found[:, :2]).prod(1) + (wanted[:, 2:] - wanted[:, :2]).prod(1) - shared
    return 1 - shared / both.clamp(min=1e-6) + (around - both) / around.clamp(min=1e-6)
