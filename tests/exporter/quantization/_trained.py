"""A small network that tells stripes apart, with data to train and to judge it on, and schemes that make it hard."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import nn

import edgepress
from edgepress.profiles.device.target import load_target

CLASSES, SIZE = 4, 12


class Stripes(nn.Module):
    """Convolutions, of which one is by channel, with batch norms and a residual sum."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(1, 8, 3, padding=1, bias=False), nn.BatchNorm2d(8), nn.ReLU6())
        self.deep = nn.Sequential(nn.Conv2d(8, 8, 3, padding=1, groups=8, bias=False), nn.BatchNorm2d(8), nn.ReLU6())
        self.back = nn.Sequential(nn.Conv2d(8, 8, 1, bias=False), nn.BatchNorm2d(8))
        self.head = nn.Linear(8, CLASSES)

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        x = self.stem(image)
        x = x + self.back(self.deep(x))
        scores: torch.Tensor = self.head(x.mean(dim=(2, 3)))
        return scores


def pictures(count: int, seed: int) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    """Stripes across, down, and along both diagonals, in noise."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, CLASSES, count)
    rows, columns = np.mgrid[:SIZE, :SIZE]
    along = np.stack([rows, columns, rows + columns, rows - columns])[labels]
    phase, noise = rng.uniform(0, 6, (count, 1, 1)), rng.normal(0, 1.5, (count, SIZE, SIZE))
    return (np.sin(along * 1.6 + phase) + noise)[:, None].astype(np.float32), labels


def batches(count: int, seed: int, size: int = 32) -> Iterator[tuple[Any, Any]]:
    images, labels = pictures(count, seed)
    for start in range(0, count, size):
        yield images[start : start + size], labels[start : start + size]


def training(epoch: int = 0) -> Iterator[tuple[dict[str, torch.Tensor], torch.Tensor]]:
    for images, labels in batches(1024, 100 + epoch):
        yield {"image": torch.from_numpy(images)}, torch.from_numpy(labels)


def loss(outputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    return nn.functional.cross_entropy(outputs, targets)


def calibration() -> list[dict[str, np.ndarray[Any, Any]]]:
    return [{"image": images} for images, _ in batches(160, 7)]


def evaluate(predict: Any) -> float:
    """The mean share that the right class gets, on pictures that nothing else sees: finer than accuracy."""
    total = 0.0
    for images, labels in batches(1024, 8, 64):
        scores = predict({"image": images})["output"].astype(np.float64)
        shares = np.exp(scores - scores.max(1, keepdims=True))
        total += float((shares / shares.sum(1, keepdims=True))[np.arange(len(labels)), labels].sum())
    return total / 1024


def trained_net() -> nn.Module:
    """Trained in a second or two."""
    with torch.random.fork_rng(devices=[]), torch.enable_grad():
        torch.manual_seed(0)
        net = Stripes()
        optimizer = torch.optim.AdamW(net.parameters(), lr=1e-2)
        for epoch in range(4):
            for feed, labels in training(epoch):
                optimizer.zero_grad()
                loss(net(**feed), labels).backward()
                optimizer.step()
    return net.eval()


def hard(target: str = "mobile", bits: int = 3, **grid: Any) -> edgepress.Target:
    """A target whose weights have so few bits that int8 alone loses much."""
    found = load_target(target)
    assert found.scheme is not None
    weight = replace(found.scheme.weight, used=bits, **grid)
    return replace(found, name=f"hard-{target}", aliases=(), scheme=replace(found.scheme, name="hard", weight=weight))
