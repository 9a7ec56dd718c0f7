"""A multilayer perceptron for 28x28 images: 784, 128 and 10 units.

Input ``image``: float32 (N, 1, 28, 28) in 0..1. Output: float32 (N, 10), one score per digit.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from _shared import Batch, Predict, Task, digits, trained
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional


class MLP(nn.Module):
    """One hidden layer on the flattened image."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Flatten(), nn.Linear(28 * 28, 128), nn.ReLU(), nn.Linear(128, 10))

    def forward(self, image: Tensor) -> Tensor:
        """Scores, float32 (N, 10)."""
        scores: Tensor = self.layers(image)
        return scores


def model() -> nn.Module:
    """Trained at the first call; the weights are kept in the user's cache."""
    return trained(__file__, MLP, training, loss, epochs=10)


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
    return digits("image", size=28)
