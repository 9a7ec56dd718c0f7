"""A task small enough to train in a second: points of three noisy classes, and networks of any width for them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from edgepress.errors import InputError
from edgepress.exporter.recipe import TrainingSettings
from edgepress.exporter.sources import Source, source_from_object
from edgepress.exporter.training.loop import TrainingOutcome, train

BATCHES, BATCH = 6, 16
SETTINGS = TrainingSettings(epochs=4, learning_rate=0.02)


class Net(nn.Module):
    def __init__(self, width: int = 16, classes: int = 3) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Linear(8, width), nn.BatchNorm1d(width), nn.ReLU(), nn.Dropout(0.1))
        self.head = nn.Linear(width, classes)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.body(x))


def net(width: int = 16, seed: int = 0, classes: int = 3) -> Net:
    torch.manual_seed(seed)
    return Net(width, classes)


def points(seed: int, count: int = BATCHES * BATCH) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 3, count)
    centres = np.random.default_rng(99).normal(size=(3, 8))
    return (centres[labels] + rng.normal(size=(count, 8))).astype(np.float32), labels


def training(epoch: int = 0) -> Iterator[tuple[dict[str, Tensor], Tensor]]:
    x, y = (torch.from_numpy(array) for array in points(1))
    order = torch.from_numpy(np.random.default_rng(epoch).permutation(len(y)))
    for rows in order.split(BATCH):
        yield {"x": x[rows]}, y[rows]


def loss(outputs: Tensor, targets: Tensor) -> Tensor:
    return functional.cross_entropy(outputs, targets)


def evaluate(predict: Any) -> float:
    x, y = points(2, 200)
    return float((predict({"x": x})["output"].argmax(1) == y).mean())


def calibration() -> Iterator[dict[str, np.ndarray]]:
    x, _ = points(1)
    for part in np.split(x, BATCHES):
        yield {"x": part}


def toy(**changed: Any) -> Source:
    """The source of an untrained network; keywords replace its functions."""
    made = source_from_object(net(), {"x": torch.zeros(2, 8)}, name="toy", dynamic={"x": {0: "batch"}})
    fields: dict[str, Any] = {"training": training, "loss": loss, "evaluate": evaluate, "calibration": calibration}
    return replace(made, **(fields | changed))


def weights(outcome: TrainingOutcome) -> dict[str, Tensor]:
    return dict(outcome.module.state_dict())


def same(one: dict[str, Tensor], two: dict[str, Tensor]) -> bool:
    return one.keys() == two.keys() and all(torch.equal(one[name], two[name]) for name in one)


def fails(source: Source, *, teacher: nn.Module | None = None, settings: TrainingSettings = SETTINGS) -> str:
    with pytest.raises(InputError) as caught:
        train(net(), teacher, source, settings)
    return str(caught.value)
