"""A small classification task with one input: what the trained examples answer edgepress's questions with."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

Predict: TypeAlias = Callable[[dict[str, NDArray[Any]]], Mapping[str, NDArray[Any]]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """``x``: float32, samples first. ``y``: int64 class numbers (N,)."""

    x: NDArray[np.float32]
    y: NDArray[np.int64]

    def batches(self, size: int) -> Iterator[Part]:
        """Consecutive parts of ``size`` samples; the last may be smaller."""
        for start in range(0, len(self.y), size):
            yield self.take(np.arange(start, min(start + size, len(self.y))))

    def take(self, rows: NDArray[np.int64]) -> Part:
        """The samples at ``rows``, in that order."""
        return Part(x=self.x[rows], y=self.y[rows])


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """Data for training and data held out, in random but seeded order; ``name`` is the network's one input."""

    name: str
    train: Part
    held_out: Part

    @classmethod
    def split(cls, name: str, whole: Part, *, held_out: int, seed: int = 0) -> Task:
        """Shuffles ``whole``, and holds out its last ``held_out`` samples."""
        order = np.random.default_rng(seed).permutation(len(whole.y))
        return cls(name=name, train=whole.take(order[:-held_out]), held_out=whole.take(order[-held_out:]))

    def inputs(self, batch: int = 8) -> dict[str, Tensor]:
        """The first training samples."""
        return {self.name: torch.from_numpy(self.train.x[:batch])}

    def dynamic(self) -> dict[str, dict[int, str]]:
        """The batch axis is free."""
        return {self.name: {0: "batch"}}

    def calibration(self, samples: int = 256, batch: int = 16) -> Iterator[dict[str, NDArray[Any]]]:
        """Training samples only, the same ones in the same order at each call."""
        for part in self.train.take(np.arange(min(samples, len(self.train.y)))).batches(batch):
            yield {self.name: part.x}

    def training(self, epoch: int = 0, batch: int = 64) -> Iterator[tuple[dict[str, Tensor], Tensor]]:
        """One pass over the training data, in an order that ``epoch`` decides; a smaller last batch is left out."""
        order = np.random.default_rng(epoch).permutation(len(self.train.y))
        for part in self.train.take(order[: len(order) // batch * batch]).batches(batch):
            yield {self.name: torch.from_numpy(part.x)}, torch.from_numpy(part.y)

    def accuracy(self, predict: Predict, batch: int = 50) -> float:
        """Share of the held-out samples whose highest score is their class's."""
        right = 0
        for part in self.held_out.batches(batch):
            scores = next(iter(predict({self.name: part.x}).values()))
            right += int((scores.argmax(axis=1) == part.y).sum())
        return right / len(self.held_out.y)
