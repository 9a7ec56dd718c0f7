"""scikit-learn's bundled handwritten digits (1797 images of 8x8), enlarged, and in colour where asked."""

from __future__ import annotations

import functools

import numpy as np
import torch
from _task import Part, Task
from numpy.typing import NDArray
from sklearn.datasets import load_digits
from torch.nn import functional

_HELD_OUT = 500


@functools.cache
def digits(name: str, *, size: int) -> Task:
    """Grey images, float32 (N, 1, size, size) in 0..1, and their digit; ``name`` is the network's input."""
    images, labels = _enlarged(size)
    return Task.split(name, Part(x=images, y=labels), held_out=_HELD_OUT)


@functools.cache
def coloured_digits(name: str, *, size: int) -> Task:
    """Digits in a random light colour on a random dark one, noisy: float32 (N, 3, size, size), else as ``digits``."""
    ink, labels = _enlarged(size)
    rng = np.random.default_rng(0)
    paper = rng.uniform(0, 0.4, (len(ink), 3, 1, 1))
    colour = rng.uniform(0.6, 1, paper.shape)
    images = paper + ink * (colour - paper) + rng.normal(0, 0.05, (len(ink), 3, size, size))
    return Task.split(name, Part(x=images.clip(0, 1).astype(np.float32), y=labels), held_out=_HELD_OUT)


def _enlarged(size: int) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    data = load_digits()
    small = torch.from_numpy(data.images.astype(np.float32) / 16).unsqueeze(1)
    images = functional.interpolate(small, size=(size, size), mode="bilinear", align_corners=False)
    return images.numpy(), data.target.astype(np.int64)
