"""Fashion-MNIST, 70,000 grey pictures of clothes in ten classes (Xiao et al., 2017), as Debian packages it."""

from __future__ import annotations

import functools
import gzip
import os
from pathlib import Path

import numpy as np
from _task import Part, Task
from numpy.typing import NDArray

from edgepress.errors import InputError

NAMES = ("T-shirt", "trouser", "pullover", "dress", "coat", "sandal", "shirt", "sneaker", "bag", "ankle boot")
SIZE = 28
_PACKAGED = Path("/usr/share/datasets/fashion-mnist")
TRAIN, TEST = "train", "t10k"
# Three axes of unsigned bytes, and one: http://yann.lecun.com/exdb/mnist describes the format.
_MAGIC = {"images-idx3": 0x0803, "labels-idx1": 0x0801}


@functools.cache
def fashion(name: str) -> Task:
    """60,000 pictures for training, 10,000 held out, as their authors split them: float32 (N, 1, 28, 28) in 0..1.

    Raises:
        InputError: the pictures are not there; it says which package has them.
    """
    train, held_out = (Part(x=_as_float(x), y=y.astype(np.int64)) for x, y in map(pictures, (TRAIN, TEST)))
    # Their own order may group what looks alike, and calibration takes the first.
    order = np.random.default_rng(0).permutation(len(train.y))
    return Task(name=name, train=train.take(order), held_out=held_out)


def pictures(part: str) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Bytes (N, 28, 28) and class numbers (N,) of a part: `train` or `t10k`.

    Raises:
        InputError: the files are not there, or are others.
    """
    images = _read(part, "images-idx3").reshape(-1, SIZE, SIZE)
    return images, _read(part, "labels-idx1")


def _read(part: str, kind: str) -> NDArray[np.uint8]:
    file = _directory() / f"{part}-{kind}-ubyte.gz"
    data = gzip.decompress(file.read_bytes())
    if int.from_bytes(data[:4], "big") != _MAGIC[kind]:
        raise InputError(f"{file} is no file of {kind.partition('-')[0]} in the IDX format.", hint=_HINT)
    axes = data[3]
    return np.frombuffer(data, np.uint8, offset=4 + 4 * axes)


def _directory() -> Path:
    own = os.environ.get("FASHION_MNIST")
    directory = Path(own) if own else _PACKAGED
    if not (directory / f"{TRAIN}-images-idx3-ubyte.gz").exists():
        raise InputError(f"The pictures of Fashion-MNIST are not in {directory}.", hint=_HINT)
    return directory


_HINT = (
    "Install the Debian package dataset-fashion-mnist, or set FASHION_MNIST to a directory that has its four files "
    "(train-images-idx3-ubyte.gz and so on)."
)


def _as_float(images: NDArray[np.uint8]) -> NDArray[np.float32]:
    return images[:, None].astype(np.float32) / 255
