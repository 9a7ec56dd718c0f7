"""A CIFAR-style CNN for 32x32 colour images: two pooled 5x5 convolutions and 1024 hidden units.

Input ``image``: float32 (N, 3, 32, 32) in 0..1. Output: float32 (N, 10), one score per digit.
The images are digits in random colours, shaped as CIFAR-10's are.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from _shared import Batch, Predict, Task, coloured_digits, trained
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional


class CifarNet(nn.Module):
    """Convolutions of 32 and 64 channels, and a hidden layer of 1024 units."""

    def __init__(self) -> None:
        super().__init__()
        self.features = nn.Sequential(
            nn.Conv2d(3, 32, 5, padding=2),
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.Conv2d(32, 64, 5, padding=2),
            nn.ReLU(),
            nn.MaxPool2d(2),
        )
        self.classifier = nn.Sequential(nn.Flatten(), nn.Linear(64 * 8 * 8, 1024), nn.ReLU(), nn.Linear(1024, 10))

    def forward(self, image: Tensor) -> Tensor:
        """Scores, float32 (N, 10)."""
        scores: Tensor = self.classifier(self.features(image))
        return scores


def model() -> nn.Module:
    """Trained at the first call; the weights are kept in the user's cache."""
    return trained(__file__, CifarNet, training, loss, epochs=6, rate=1e-3)


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
    return coloured_digits("image", size=32)
