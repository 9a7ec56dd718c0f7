"""The first network of MTCNN with its trained weights, which proposes faces of about 12 pixels, boxes in the engine.

    pip install --no-deps facenet-pytorch==2.6.0 && pip install scikit-image    # the first one asks for an old torch
    edgepress export examples/mtcnn.py --target NAME

Input ``image``: uint8 (N, 48, 48, 3), red first. Outputs: ``boxes`` float32 (N, 20, 4), corners in pixels, and
``scores`` float32 (N, 20), from the best down, 0 where there is no face. A program calls it with its picture in several
sizes; the other two networks of MTCNN then look at what it proposes. Zhang et al., "Joint Face Detection and Alignment
using Multi-task Cascaded Convolutional Networks" (2016). Of facenet-pytorch the weights are read, and no code.
"""

from __future__ import annotations

import functools
import importlib.util
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from _task import Predict
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.functional import interpolate

from edgepress.boxes import select
from edgepress.errors import InputError

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
    network = Proposals()
    file = _package("facenet_pytorch", "facenet-pytorch") / "data" / "pnet.pt"
    network.load_state_dict(torch.load(file, map_location="cpu", weights_only=True))
    return network.eval()


def preprocess(image: Tensor) -> Tensor:
    """Bytes as float32 (N, 3, H, W) in -1..1, as its authors have it."""
    return (image.permute(0, 3, 1, 2).float() - 127.5) / 128


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
    return {"image": torch.from_numpy(_pieces(4, seed=0))}


def dynamic() -> dict[str, dict[int, str]]:
    """Any number of pictures at once."""
    return {"image": {0: "batch"}}


def calibration() -> Iterator[dict[str, NDArray[Any]]]:
    """256 pieces of photographs in several sizes, in batches of 16."""
    for start in range(16):
        yield {"image": _pieces(16, seed=1 + start)}


def evaluate(predict: Predict) -> float:
    """Share of 100 faces and 100 pieces without one, of Labeled Faces in the Wild, that are told apart."""
    pictures = _faces()
    wanted = np.arange(len(pictures)) < len(pictures) // 2
    batches = np.split(pictures, 10)
    found = np.concatenate([predict({"image": batch})["scores"].max(axis=1) > 0 for batch in batches])
    return float((found == wanted).mean())


def _faces() -> NDArray[np.uint8]:
    """scikit-image's `lfw_subset`, 25 pixels wide and grey, faces first, each in the middle of a plain picture."""
    grey = np.load(_package("skimage", "scikit-image") / "data" / "lfw_subset.npy")
    small = interpolate(torch.from_numpy(grey.astype(np.float32))[:, None], size=(_CELL + 2, _CELL + 2), mode="area")
    pictures = np.full((len(grey), _SIZE, _SIZE, 3), 127, np.uint8)
    start = (_SIZE - _CELL - 2) // 2
    inside = slice(start, start + _CELL + 2)
    pictures[:, inside, inside] = (255 * small[:, 0, ..., None]).clamp(0, 255).numpy().astype(np.uint8)
    return pictures


def _pieces(count: int, seed: int) -> NDArray[np.uint8]:
    rng, found = np.random.default_rng(seed), []
    for _ in range(count):
        photograph = _photographs()[int(rng.integers(2))]
        side = int(rng.integers(_SIZE, 300))
        y, x = (int(rng.integers(0, length - side)) for length in photograph.shape[1:])
        piece = photograph[None, :, y : y + side, x : x + side]
        found.append(interpolate(piece, size=(_SIZE, _SIZE), mode="bilinear", antialias=True, align_corners=False)[0])
    return torch.stack(found).permute(0, 2, 3, 1).clamp(0, 255).numpy().astype(np.uint8)


@functools.cache
def _photographs() -> tuple[Tensor, Tensor]:
    """A portrait and a cat, float32 (3, H, W) in 0..255."""
    from PIL import Image

    directory = _package("skimage", "scikit-image") / "data"
    portrait, cat = (Image.open(directory / name).convert("RGB") for name in ("astronaut.png", "chelsea.png"))
    return _channels_first(portrait), _channels_first(cat)


def _channels_first(image: Any) -> Tensor:
    return torch.from_numpy(np.array(image)).permute(2, 0, 1).float()


def _package(module: str, name: str) -> Path:
    """Where a package lies, without running any of it.

    Raises:
        InputError: it is not installed.
    """
    found = importlib.util.find_spec(module)
    if found is None or not found.submodule_search_locations:
        raise InputError(f"{name} is not installed, of which this example reads files.", hint=f"pip install {name}")
    return Path(found.submodule_search_locations[0])
