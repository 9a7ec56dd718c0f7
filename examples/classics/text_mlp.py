"""A text classifier, 1000-500-250-10 units, that tells which standard library module a docstring is from.

Input ``words``: float32 (N, 1000), the words of a docstring counted in 1000 hashed bins, of length 1.
Output: float32 (N, 10), one score per module.
"""

from __future__ import annotations

import functools
import zlib
from collections.abc import Iterable
from typing import Any

import numpy as np
from _shared import Batch, Part, Predict, Task, docstrings, trained, words
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

_MODULES = (
    "datetime",
    "decimal",
    "http.cookiejar",
    "imaplib",
    "inspect",
    "logging",
    "mailbox",
    "tarfile",
    "threading",
    "unittest.case",
)
_FEATURES = 1000


class TextMLP(nn.Module):
    """Two hidden layers, with dropout after the first."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Linear(_FEATURES, 500), nn.ReLU(), nn.Dropout(0.5), nn.Linear(500, 250), nn.ReLU(), nn.Linear(250, 10)
        )

    def forward(self, words: Tensor) -> Tensor:
        """Scores, float32 (N, 10)."""
        scores: Tensor = self.layers(words)
        return scores


def model() -> nn.Module:
    """Trained at the first call; the weights are kept in the user's cache."""
    return trained(__file__, TextMLP, training, loss, epochs=15)


def inputs() -> dict[str, Tensor]:
    """Eight training docstrings."""
    return _task().inputs()


def dynamic() -> dict[str, dict[int, str]]:
    """Any number of docstrings at once."""
    return _task().dynamic()


def calibration() -> Iterable[dict[str, NDArray[Any]]]:
    """256 training docstrings in batches of 16."""
    return _task().calibration()


def evaluate(predict: Predict) -> float:
    """Accuracy on the held-out docstrings."""
    return _task().accuracy(predict)


def training(epoch: int = 0) -> Iterable[Batch]:
    """One pass over the training docstrings; ``epoch`` decides their order."""
    return _task().training(epoch)


def loss(outputs: Tensor, targets: Tensor) -> Tensor:
    """Cross-entropy of the scores and the class numbers."""
    return functional.cross_entropy(outputs, targets)


@functools.cache
def _task() -> Task:
    texts = [(text, number) for number, module in enumerate(_MODULES) for text in docstrings(module)]
    whole = Part(
        x=np.stack([_features(text) for text, _ in texts]), y=np.array([number for _, number in texts], np.int64)
    )
    return Task.split("words", whole, held_out=len(texts) // 4)


def _features(text: str) -> NDArray[np.float32]:
    """Word counts, damped, in the bin of each word's CRC-32, which unlike ``hash`` is the same in every process."""
    counts = np.zeros(_FEATURES, np.float32)
    for word in words(text):
        counts[zlib.crc32(word.encode()) % _FEATURES] += 1
    damped = np.log1p(counts)
    return (damped / max(float(np.linalg.norm(damped)), 1e-6)).astype(np.float32)
