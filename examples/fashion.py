"""A small MobileNetV2-like network that tells ten kinds of clothes apart: that of ``mobilenet.py`` on Fashion-MNIST.

    sudo apt-get install dataset-fashion-mnist
    edgepress export examples/fashion.py --target NAME

Input ``image``: float32 (N, 1, 28, 28) in 0..1. Output: float32 (N, 10), one score per class of ``_fashion.NAMES``.
Ten thousand pictures are held out, so that a tenth of a point of accuracy is ten pictures.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from _fashion import fashion
from _task import Predict, Task
from _training import Batch, trained
from mobilenet import MobileNet
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional


def model() -> nn.Module:
    """Trained at the first call, for about two minutes; the weights are kept in the user's cache."""
    return trained(__file__, MobileNet, training, loss, epochs=6, rate=6e-3)


def inputs() -> dict[str, Tensor]:
    """Eight training pictures."""
    return _task().inputs()


def dynamic() -> dict[str, dict[int, str]]:
    """Any number of pictures at once."""
    return _task().dynamic()


def calibration() -> Iterable[dict[str, NDArray[Any]]]:
    """512 training pictures in batches of 16."""
    return _task().calibration(samples=512)


def evaluate(predict: Predict) -> float:
    """Accuracy on the 10,000 held-out pictures."""
    return _task().accuracy(predict, batch=100)


def training(epoch: int = 0) -> Iterable[Batch]:
    """One pass over the training pictures; ``epoch`` decides their order."""
    return _task().training(epoch, batch=128)


def loss(outputs: Tensor, targets: Tensor) -> Tensor:
    """Cross-entropy of the scores and the class numbers."""
    return functional.cross_entropy(outputs, targets)


def _task() -> Task:
    return fashion("image")
