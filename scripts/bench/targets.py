"""What several targets cost together: one export beside capture, one quantization and each compilation.

In processor time, which other processes do not change, and by the clock on the wall, which needs an idle machine.

python scripts/bench/targets.py --target cpu,mobile,jetson --samples 256 --size 224
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import torch
from torch import nn

import edgepress
from edgepress.exporter.candidates.make import Maker
from edgepress.exporter.capture import stage as capture

WIDTHS, BLOCKS = (64, 128, 256, 512), (3, 4, 6, 3)
CLASSES = 100


class Block(nn.Module):
    """Two convolutions beside a shortcut."""

    def __init__(self, before: int, after: int, stride: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(before, after, 3, stride, 1, bias=False),
            nn.BatchNorm2d(after),
            nn.ReLU(),
            nn.Conv2d(after, after, 3, 1, 1, bias=False),
            nn.BatchNorm2d(after),
        )
        same = before == after and stride == 1
        self.shortcut = nn.Identity() if same else nn.Sequential(nn.Conv2d(before, after, 1, stride, bias=False))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.relu(self.body(x) + self.shortcut(x))


def network() -> nn.Module:
    """A residual CNN of 21 million parameters with random weights, and norms that fit its data."""
    torch.manual_seed(0)
    layers: list[nn.Module] = [nn.Conv2d(3, WIDTHS[0], 7, 2, 3), nn.ReLU(), nn.MaxPool2d(3, 2, 1)]
    before = WIDTHS[0]
    for index, (width, blocks) in enumerate(zip(WIDTHS, BLOCKS, strict=True)):
        for block in range(blocks):
            layers.append(Block(before, width, 2 if index and not block else 1))
            before = width
    model = nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(before, CLASSES))
    with torch.no_grad():
        for index in range(10):
            model(torch.from_numpy(images(8, 96, index)))
    return model.eval()


def images(count: int, size: int, seed: int) -> np.ndarray[Any, np.dtype[np.float32]]:
    """Smooth random images."""
    coarse = torch.randn(count, 3, 8, 8, generator=torch.Generator().manual_seed(seed))
    smooth: np.ndarray[Any, np.dtype[np.float32]] = nn.functional.interpolate(
        coarse, size=size, mode="bilinear"
    ).numpy()
    return smooth


CLOCKS = ("processor time", "wall clock")
Seconds = np.ndarray[Any, np.dtype[np.float64]]


def now() -> Seconds:
    """By both clocks; processor time is of this process and its children, all threads together."""
    return np.array([sum(os.times()[:4]), time.perf_counter()])


def timed(spent: dict[str, list[Seconds]], name: str, function: Callable[..., Any]) -> Callable[..., Any]:
    """The function, whose calls leave their seconds by both clocks."""

    def run(*args: Any, **kwargs: Any) -> Any:
        begun = now()
        try:
            return function(*args, **kwargs)
        finally:
            spent[f"{name} {args[1]}" if name == "lowered" else name].append(now() - begun)

    return run


def main() -> None:
    """Export, and say what it took."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--target", default="cpu,mobile,jetson")
    parser.add_argument("--samples", type=int, default=256)
    parser.add_argument("--size", type=int, default=224)
    given = parser.parse_args()
    model = network()

    def calibration() -> Iterator[dict[str, np.ndarray[Any, Any]]]:
        for index in range(given.samples // 8):
            yield {"input": images(8, given.size, 1000 + index)}

    spent: dict[str, list[Seconds]] = defaultdict(list)
    wrapped = ((Maker, "lowered", "lowered"), (Maker, "compiled", "compiled"), (capture, "_captured", "capture"))
    with tempfile.TemporaryDirectory() as output:
        for owner, attribute, name in wrapped:
            patch.object(owner, attribute, timed(spent, name, getattr(owner, attribute))).start()
        begun = now()
        edgepress.export_all(
            model,
            {"input": torch.from_numpy(images(2, given.size, 0))},
            targets=given.target.split(","),
            dynamic={"input": {0: "batch"}},
            calibration=calibration,
            output=Path(output),
            measure=False,
        )
        whole = now() - begun
    said(model, spent, whole)


def said(model: nn.Module, spent: dict[str, list[Seconds]], whole: Seconds) -> None:
    """Print the figures."""
    print(f"{sum(p.numel() for p in model.parameters()) / 1e6:.1f} million parameters; load {os.getloadavg()[0]:.1f}")
    parts = sum(spent["capture"]) + np.max(spent["lowered int8"], axis=0) + sum(spent["compiled"])
    for at, clock in enumerate(CLOCKS):
        print(f"{clock}:")
        for name, seconds in spent.items():
            print(f"  {name:15} {' + '.join(f'{one[at]:.1f}' for one in seconds)} s")
        ratio = f"{whole[at]:.1f} s; capture, a quantization and each compilation {parts[at]:.1f} s"
        print(f"  whole export    {ratio}: {whole[at] / parts[at]:.2f}x")


if __name__ == "__main__":
    main()
