"""What the three networks of MTCNN share: weights and pictures, read from installed packages whose code is not run."""

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

from edgepress.errors import InputError

_MIDDLE = (120, 222)  # of the portrait's face, y and x


def with_weights(network: nn.Module, file: str) -> nn.Module:
    """The network with the weights of facenet-pytorch, whose layers are called as its own."""
    path = _package("facenet_pytorch", "facenet-pytorch") / "data" / file
    network.load_state_dict(torch.load(path, map_location="cpu", weights_only=True))
    return network.eval()


def scaled(image: Tensor) -> Tensor:
    """Bytes as float32 (N, 3, H, W) in -1..1, as the authors of MTCNN have it."""
    return (image.permute(0, 3, 1, 2).float() - 127.5) / 128


def pieces(count: int, seed: int, side: int, *, proposed: bool = False) -> NDArray[np.uint8]:
    """Pieces of two photographs in several sizes, as (count, side, side, 3).

    Args:
        proposed: every other one lies about the face of the portrait, as what the first network proposes does.
    """
    rng, found = np.random.default_rng(seed), []
    for number in range(count):
        about = proposed and number % 2 == 0
        photograph = _photographs()[0 if about else int(rng.integers(2))]
        taken = int(rng.integers(90, 160) if about else rng.integers(48, 300))
        if about:
            y, x = (middle - taken // 2 + int(rng.integers(-20, 21)) for middle in _MIDDLE)
        else:
            y, x = (int(rng.integers(0, length - taken)) for length in photograph.shape[1:])
        piece = photograph[None, :, max(y, 0) : y + taken, x : x + taken]
        found.append(interpolate(piece, size=(side, side), mode="bilinear", antialias=True, align_corners=False)[0])
    return torch.stack(found).permute(0, 2, 3, 1).clamp(0, 255).numpy().astype(np.uint8)


def batches(side: int, *, proposed: bool = False) -> Iterator[dict[str, NDArray[Any]]]:
    """256 pieces in batches of 16."""
    for start in range(16):
        yield {"image": pieces(16, 1 + start, side, proposed=proposed)}


def faces(side: int, inside: int) -> NDArray[np.uint8]:
    """scikit-image's `lfw_subset`, 200 grey pictures, faces first: `inside` pixels wide amid plain grey."""
    grey = np.load(_package("skimage", "scikit-image") / "data" / "lfw_subset.npy")
    small = interpolate(torch.from_numpy(grey.astype(np.float32))[:, None], size=(inside, inside), mode="area")
    pictures = np.full((len(grey), side, side, 3), 127, np.uint8)
    start = (side - inside) // 2
    rows = slice(start, start + inside)
    pictures[:, rows, rows] = (255 * small[:, 0, ..., None]).clamp(0, 255).numpy().astype(np.uint8)
    return pictures


def told_apart(predict: Predict, pictures: NDArray[np.uint8], least: float) -> float:
    """Share of pictures, faces in the first half, that have a score of `least` or more exactly where they are faces."""
    wanted = np.arange(len(pictures)) < len(pictures) // 2
    scores = [predict({"image": batch})["scores"] for batch in np.split(pictures, 10)]
    found = np.concatenate([batch.reshape(len(batch), -1).max(axis=1) >= least for batch in scores])
    return float((found == wanted).mean())


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
