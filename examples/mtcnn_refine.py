"""The second network of MTCNN with its trained weights, which looks at each face that the first one proposes.

    pip install --no-deps facenet-pytorch==2.6.0 && pip install scikit-image    # the first one asks for an old torch
    edgepress export examples/mtcnn_refine.py --target NAME

Input ``image``: uint8 (N, 24, 24, 3), red first, a piece of the picture each. Outputs: ``scores`` float32 (N,), that it
is a face, and ``offsets`` float32 (N, 4), by what sides of the piece its edges move. Weights and pictures: `mtcnn.py`.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from _faces import batches, faces, pieces, scaled, told_apart, with_weights
from _task import Predict
from numpy.typing import NDArray
from torch import Tensor, nn

_SIDE = 24
_FACE = 0.7  # what facenet-pytorch asks of it


class Refined(nn.Module):
    """Convolutions and a hidden layer; layers are called as in the weights."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1, self.prelu1 = nn.Conv2d(3, 28, 3), nn.PReLU(28)
        self.pool1 = nn.MaxPool2d(3, 2, ceil_mode=True)
        self.conv2, self.prelu2 = nn.Conv2d(28, 48, 3), nn.PReLU(48)
        self.pool2 = nn.MaxPool2d(3, 2, ceil_mode=True)
        self.conv3, self.prelu3 = nn.Conv2d(48, 64, 2), nn.PReLU(64)
        self.dense4, self.prelu4 = nn.Linear(576, 128), nn.PReLU(128)
        self.dense5_1, self.dense5_2 = nn.Linear(128, 2), nn.Linear(128, 4)

    def forward(self, image: Tensor) -> tuple[Tensor, ...]:
        """No face and face (N, 2) before a softmax, and offsets (N, 4)."""
        x = self.pool1(self.prelu1(self.conv1(image)))
        x = self.pool2(self.prelu2(self.conv2(x)))
        # Columns before rows, and channels last: the weights come from a library that lays pictures out so.
        x = self.prelu3(self.conv3(x)).permute(0, 3, 2, 1).flatten(1)
        x = self.prelu4(self.dense4(x))
        return self.dense5_1(x), self.dense5_2(x)


def model() -> nn.Module:
    """With the weights of facenet-pytorch."""
    return with_weights(Refined(), "rnet.pt")


def preprocess(image: Tensor) -> Tensor:
    """Bytes as float32 (N, 3, H, W) in -1..1, as its authors have it."""
    return scaled(image)


def postprocess(kinds: Tensor, offsets: Tensor) -> dict[str, Tensor]:
    """The probability of a face, and the rest as it is."""
    return {"scores": kinds.softmax(dim=1)[:, 1], "offsets": offsets}


def inputs() -> dict[str, Tensor]:
    """Four pieces of a photograph."""
    return {"image": torch.from_numpy(pieces(4, 0, _SIDE, proposed=True))}


def dynamic() -> dict[str, dict[int, str]]:
    """Any number of pieces at once."""
    return {"image": {0: "batch"}}


def calibration() -> Iterator[dict[str, NDArray[Any]]]:
    """256 pieces of photographs in batches of 16, half of them about a face."""
    return batches(_SIDE, proposed=True)


def evaluate(predict: Predict) -> float:
    """Share of 100 faces and 100 pieces without one, of Labeled Faces in the Wild, that are told apart."""
    return told_apart(predict, faces(_SIDE, _SIDE), _FACE)
