"""A small U-Net that says of each pixel of a scene which clothes it belongs to.

    sudo apt-get install dataset-fashion-mnist
    edgepress export examples/segment.py --target NAME

Input ``image``: uint8 (N, 96, 96, 3), red first. Output ``mask``: int64 (N, 96, 96), 0 for the ground, else the place
in ``_scenes.NAMES`` and one. The network is that of Ronneberger et al., "U-Net" (2015), with padding and batch norms.
"""

from __future__ import annotations

import functools
from collections.abc import Iterable, Iterator
from typing import Any

import torch
from _scenes import NAMES, Scenes, scenes
from _task import Predict
from _training import Batch, trained
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, interpolate, max_pool2d

from edgepress.metrics import MeanIoU

_CLASSES = len(NAMES) + 1
_WIDTHS = (16, 24, 40, 64)
_BATCH, _BATCHES, _HELD_OUT = 32, 64, 500


class UNet(nn.Module):
    """Down three times by a pooling, and up again beside what was there on the way down."""

    def __init__(self) -> None:
        super().__init__()
        pairs = list(zip((3, *_WIDTHS), _WIDTHS, strict=False))
        self.down = nn.ModuleList(_twice(inside, outside) for inside, outside in pairs)
        self.up = nn.ModuleList(_twice(below + beside, beside) for beside, below in reversed(pairs[1:]))
        self.classes = nn.Conv2d(_WIDTHS[0], _CLASSES, 1)

    def forward(self, image: Tensor) -> Tensor:
        """Scores (N, 6, H, W) of (N, 3, H, W), whose sides are divisible by 8."""
        kept: list[Tensor] = []
        x = image
        for index, stage in enumerate(self.down):
            x = stage(max_pool2d(x, 2) if index else x)
            kept.append(x)
        for stage, beside in zip(self.up, reversed(kept[:-1]), strict=True):
            x = stage(torch.cat((interpolate(x, scale_factor=2.0, mode="nearest"), beside), dim=1))
        scores: Tensor = self.classes(x)
        return scores


def _twice(inside: int, outside: int) -> nn.Sequential:
    return nn.Sequential(*_convolution(inside, outside), *_convolution(outside, outside))


def _convolution(inside: int, outside: int) -> tuple[nn.Module, ...]:
    return nn.Conv2d(inside, outside, 3, padding=1, bias=False), nn.BatchNorm2d(outside), nn.ReLU()


def model() -> nn.Module:
    """Trained at the first call, for some minutes; the weights are kept in the user's cache."""
    return trained(__file__, UNet, _prepared, loss, epochs=6, rate=6e-3)


def preprocess(image: Tensor) -> Tensor:
    """Bytes (N, H, W, 3) as float32 (N, 3, H, W) in 0..1."""
    return image.permute(0, 3, 1, 2).float() / 255


def postprocess(scores: Tensor) -> dict[str, Tensor]:
    """The best class of each pixel."""
    return {"mask": scores.argmax(dim=1)}


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
    """Mean intersection over union on 500 scenes of pictures that are held out."""
    iou = MeanIoU(_CLASSES)
    for batch in _held_out():
        iou.add(predict({"image": batch.images}), batch.masks)
    return iou.value


def training(epoch: int = 0) -> Iterator[Batch]:
    """2,048 scenes that ``epoch`` decides."""
    for batch in scenes(_BATCH * _BATCHES, batch=_BATCH, seed=100 + epoch):
        yield {"image": torch.from_numpy(batch.images)}, torch.from_numpy(batch.masks)


def loss(outputs: Tensor, targets: Tensor) -> Tensor:
    """Cross-entropy of each pixel."""
    return cross_entropy(outputs, targets)


@functools.cache
def _held_out() -> list[Scenes]:
    return list(scenes(_HELD_OUT, batch=50, seed=0, held_out=True))


def _prepared(epoch: int) -> Iterator[Batch]:
    for arguments, masks in training(epoch):
        yield {"image": preprocess(arguments["image"])}, masks
