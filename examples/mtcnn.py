"""The first network of MTCNN with its trained weights, which proposes faces of about 12 pixels, boxes in the engine.

    pip install --no-deps facenet-pytorch==2.6.0 && pip install scikit-image    # the first one asks for an old torch
    edgepress export examples/mtcnn.py --target NAME

Input ``image``: uint8 (N, 48, 48, 3), red first. Outputs: ``boxes`` float32 (N, 20, 4), corners in pixels, and
``scores`` float32 (N, 20), from the best down, 0 where there is no face. A program calls it with its picture in several
sizes; `mtcnn_refine.py` and `mtcnn_output.py` then look at what it proposes. Zhang et al., "Joint Face Detection and
Alignment using Multi-task Cascaded Convolutional Networks" (2016). Of facenet-pytorch weights are read, and no code.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from _faces import batches, faces, pieces, scaled, told_apart, with_weights
from _task import Predict
from numpy.typing import NDArray
from torch import Tensor, nn

from edgepress.boxes import select

_SIZE, _CELL, _STRIDE = 48, 12, 2
_GRID = (_SIZE - _CELL) // _STRIDE + 1
_FACE = 0.6  # what facenet-pytorch asks of the first network


class Proposals(nn.Module):
    """Three convolutions, and what a point says of the twelve pixels around it; layers are called as in the weights."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1, self.prelu1 = nn.Conv2d(3, 10, 3), nn.PReLU(10)
        self.pool1 = nn.MaxPool2d(2, 2, ceil_mode=True)
        self.conv2, self.prelu2 = nn.Conv2d(10, 16, 3), nn.PReLU(16)
        self.conv3, self.prelu3 = nn.Conv2d(16, 32, 3), nn.PReLU(32)
        self.conv4_1, self.conv4_2 = nn.Conv2d(32, 2, 1), nn.Conv2d(32, 4, 1)

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor]:
        """No face and face (N, 2, points) before a softmax, and offsets (N, 4, points) in sides of the cell."""
        x = self.pool1(self.prelu1(self.conv1(image)))
        x = self.prelu3(self.conv3(self.prelu2(self.conv2(x))))
        return self.conv4_1(x).flatten(2), self.conv4_2(x).flatten(2)


def model() -> nn.Module:
    """With the weights of facenet-pytorch."""
    return with_weights(Proposals(), "pnet.pt")


def preprocess(image: Tensor) -> Tensor:
    """Bytes as float32 (N, 3, H, W) in -1..1, as its authors have it."""
    return scaled(image)


def postprocess(kinds: Tensor, offsets: Tensor) -> dict[str, Tensor]:
    """The faces that are left."""
    y, x = torch.meshgrid(torch.arange(_GRID), torch.arange(_GRID), indexing="ij")
    corner = (_STRIDE * torch.stack((x, y), dim=-1).reshape(-1, 2) + 1).float()
    side = _CELL - 1
    boxes = torch.cat((corner, corner + side), dim=1) + side * offsets.transpose(1, 2)
    found = select(boxes, kinds.softmax(dim=1)[:, 1:], iou=0.5, score=_FACE, rows=20)
    return {"boxes": found[0], "scores": found[1]}


def inputs() -> dict[str, Tensor]:
    """Four pieces of a photograph."""
    return {"image": torch.from_numpy(pieces(4, 0, _SIZE))}


def dynamic() -> dict[str, dict[int, str]]:
    """Any number of pictures at once."""
    return {"image": {0: "batch"}}


def calibration() -> Iterator[dict[str, NDArray[Any]]]:
    """256 pieces of photographs in several sizes, in batches of 16."""
    return batches(_SIZE)


def evaluate(predict: Predict) -> float:
    """Share of 100 faces and 100 pieces without one, of Labeled Faces in the Wild, that are told apart."""
    return told_apart(predict, faces(_SIZE, _CELL + 2), _FACE)
