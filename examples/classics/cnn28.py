"""A plain CNN for 28x28 images: three 3x3 convolutions, two of them pooled, and two linear layers.

Input ``image``: float32 (N, 1, 28, 28) in 0..1. Output: float32 (N, 10), one score per digit.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from _shared import Batch, Predict, Task, digits, trained
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional


class CNN28(nn.Module):
    """Convolutions of 32, 64 and 64 channels, and a hidden layer of 64 units."""

    def __init__(self) -> None:
        super().__init__()
        self.features = nn.Sequential(
            nn.Conv2d(1, 32, 3),
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.Conv2d(32, 64, 3),
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.Conv2d(64, 64, 3),
            nn.ReLU(),
        )
        self.classifier = nn.Sequential(nn.Flatten(), nn.Linear(64 * 3 * 3, 64), nn.ReLU(), nn.Linear(64, 10))

    def forward(self, image: Tensor) -> Tensor:
        """Scores, float32 (N, 10)."""
        scores: Tensor = self.classifier(self.features(image))
        return scores


def model() -> nn.Module:
    """Trained at the first call; the weights are kept in the user's cache."""
    return trained(__file__, CNN28, training, loss, epochs=10)


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
