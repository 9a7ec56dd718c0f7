"""Two 3x3 convolutions and two linear layers with dropout, as the small image examples of PyTorch have it.

Input ``image``: float32 (N, 1, 28, 28) in 0..1. Output: float32 (N, 10), one score per digit.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from _shared import Batch, Predict, Task, digits, trained
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional


class ConvNet(nn.Module):
    """Convolutions of 32 and 64 channels, and a hidden layer of 128 units."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(1, 32, 3)
        self.conv2 = nn.Conv2d(32, 64, 3)
        self.dropout1 = nn.Dropout(0.25)
        self.dropout2 = nn.Dropout(0.5)
        self.linear1 = nn.Linear(64 * 12 * 12, 128)
        self.linear2 = nn.Linear(128, 10)

    def forward(self, image: Tensor) -> Tensor:
        """Scores, float32 (N, 10)."""
        x = functional.relu(self.conv2(functional.relu(self.conv1(image))))
        x = self.dropout1(functional.max_pool2d(x, 2)).flatten(1)
        scores: Tensor = self.linear2(self.dropout2(functional.relu(self.linear1(x))))
        return scores


def model() -> nn.Module:
    """Trained at the first call; the weights are kept in the user's cache."""
    return trained(__file__, ConvNet, training, loss, epochs=5)


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
