"""A small vision transformer that reads handwritten digits.

    edgepress export examples/vit.py --target NAME

Input ``image``: float32 (N, 1, 32, 32) in 0..1. Output: float32 (N, 10), one score per digit.
The blocks are those of Dosovitskiy et al., "An Image is Worth 16x16 Words" (2020), over patches that overlap, as 1297
images teach little of what lies across a border, and with the mean over the patches in place of the class token.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from _digits import digits
from _task import Predict, Task
from _training import Batch, trained
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

_SIZE, _STRIDE, _WIDTH, _HEADS, _BLOCKS = 32, 8, 64, 4, 4


class Attention(nn.Module):
    """Multi-head self-attention, written out: it exports to plain MatMul and Softmax."""

    def __init__(self) -> None:
        super().__init__()
        self.heads = _HEADS
        self.query_key_value = nn.Linear(_WIDTH, 3 * _WIDTH)
        self.output = nn.Linear(_WIDTH, _WIDTH)

    def forward(self, x: Tensor) -> Tensor:
        """The shape of ``x``, float32 (N, L, width)."""
        heads = self.query_key_value(x).unflatten(-1, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        query, key, value = heads[0], heads[1], heads[2]
        weights = (query @ key.transpose(-2, -1) * query.shape[-1] ** -0.5).softmax(dim=-1)
        y: Tensor = self.output((weights @ value).transpose(1, 2).flatten(2))
        return y


class Block(nn.Module):
    """Attention, then two linear layers with a GELU; each after a norm and around a shortcut."""

    def __init__(self) -> None:
        super().__init__()
        self.attention = nn.Sequential(nn.LayerNorm(_WIDTH), Attention())
        self.layers = nn.Sequential(
            nn.LayerNorm(_WIDTH), nn.Linear(_WIDTH, 4 * _WIDTH), nn.GELU(), nn.Linear(4 * _WIDTH, _WIDTH)
        )

    def forward(self, x: Tensor) -> Tensor:
        """The shape of ``x``."""
        x = x + self.attention(x)
        y: Tensor = x + self.layers(x)
        return y


class VisionTransformer(nn.Module):
    """A strided convolution makes the patches, blocks mix them, and one linear layer reads their mean."""

    def __init__(self) -> None:
        super().__init__()
        self.patches = nn.Conv2d(1, _WIDTH, 2 * _STRIDE, stride=_STRIDE, padding=_STRIDE // 2)
        self.positions = nn.Parameter(0.02 * torch.randn(1, (_SIZE // _STRIDE) ** 2, _WIDTH))
        self.blocks = nn.Sequential(*(Block() for _ in range(_BLOCKS)))
        self.norm = nn.LayerNorm(_WIDTH)
        self.classifier = nn.Linear(_WIDTH, 10)

    def forward(self, image: Tensor) -> Tensor:
        """Scores, float32 (N, 10)."""
        tokens = self.patches(image).flatten(2).transpose(1, 2) + self.positions
        scores: Tensor = self.classifier(self.norm(self.blocks(tokens)).mean(dim=1))
        return scores


def model() -> nn.Module:
    """Trained at the first call; the weights are kept in the user's cache."""
    return trained(__file__, VisionTransformer, training, loss, epochs=24, rate=1.5e-3)


def inputs() -> dict[str, Tensor]:
    """Eight training images."""
    return _task().inputs()


def dynamic() -> dict[str, dict[int, str]]:
    """Any number of images at once."""
    return _task().dynamic()


def calibration() -> Iterable[dict[str, NDArray[Any]]]:
    """256 training images in batches of 16."""
    return _task().calibration()


def evaluate(predict: Predict) -> float:
    """Accuracy on the held-out images."""
    return _task().accuracy(predict)


def training(epoch: int = 0) -> Iterable[Batch]:
    """One pass over the training images; ``epoch`` decides their order."""
    return _task().training(epoch)


def loss(outputs: Tensor, targets: Tensor) -> Tensor:
    """Cross-entropy of the scores and the class numbers."""
    return functional.cross_entropy(outputs, targets)


def _task() -> Task:
    return digits("image", size=_SIZE)
