"""A small MobileNetV2-like network that reads handwritten digits: depthwise convolutions, ReLU6, linear bottlenecks.

    edgepress export examples/mobilenet.py --target NAME
    edgepress export examples/mobilenet.py --target NAME --distill     # ships student(), taught by model()

Input ``image``: float32 (N, 1, 32, 32) in 0..1. Output: float32 (N, 10), one score per digit.
The blocks are those of Sandler et al., "MobileNetV2: Inverted Residuals and Linear Bottlenecks" (2018).
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from _digits import digits
from _task import Predict, Task
from _training import Batch, seeded, trained
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional


class InvertedResidual(nn.Module):
    """Widens with a 1x1 convolution, filters each channel by itself, and narrows again without an activation."""

    def __init__(self, inside: int, outside: int, stride: int = 1, expansion: int = 4) -> None:
        super().__init__()
        wide = inside * expansion
        self.layers = nn.Sequential(
            *_convolution(inside, wide, 1),
            *_convolution(wide, wide, 3, stride, groups=wide),
            nn.Conv2d(wide, outside, 1, bias=False),
            nn.BatchNorm2d(outside),
        )
        self.residual = inside == outside and stride == 1

    def forward(self, x: Tensor) -> Tensor:
        """Channels and size as the constructor says."""
        y: Tensor = self.layers(x)
        return x + y if self.residual else y


class MobileNet(nn.Module):
    """A strided stem, five inverted residuals (two strided), a 1x1 head, global average pooling, one linear layer.

    ``share`` of the channels is there: 1 is the whole network, a multiple of an eighth keeps all widths whole.
    """

    def __init__(self, share: float = 1.0) -> None:
        super().__init__()
        first, second, third, last = (round(share * width) for width in (16, 24, 40, 160))
        self.features = nn.Sequential(
            *_convolution(1, first, 3, stride=2),
            InvertedResidual(first, first),
            InvertedResidual(first, second, stride=2),
            InvertedResidual(second, second),
            InvertedResidual(second, third, stride=2),
            InvertedResidual(third, third),
            *_convolution(third, last, 1),
        )
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.classifier = nn.Linear(last, 10)

    def forward(self, image: Tensor) -> Tensor:
        """Scores, float32 (N, 10)."""
        scores: Tensor = self.classifier(self.pool(self.features(image)).flatten(1))
        return scores


def _convolution(
    inside: int, outside: int, kernel: int, stride: int = 1, groups: int = 1
) -> tuple[nn.Conv2d, nn.BatchNorm2d, nn.ReLU6]:
    convolution = nn.Conv2d(inside, outside, kernel, stride, padding=kernel // 2, groups=groups, bias=False)
    return convolution, nn.BatchNorm2d(outside), nn.ReLU6()


def model() -> nn.Module:
    """Trained at the first call; the weights are kept in the user's cache."""
    return trained(__file__, MobileNet, training, loss, epochs=12)


def student() -> nn.Module:
    """The same network half as wide, untrained, for ``edgepress export examples/mobilenet.py --distill``."""
    with seeded():
        return MobileNet(share=0.5)


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
    return digits("image", size=32)
