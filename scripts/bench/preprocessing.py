"""What preprocessing costs inside the engine and outside of it, by OpenCV and numpy, and what int8 makes of both.

    python scripts/bench/preprocessing.py [RECORD]

Two bundles of one network a target and precision: one takes bytes, by `[preprocess]` of a recipe, the other floats.
They run in turns on one thread, on the same pictures: the engine that takes bytes; OpenCV and numpy, then the engine
that takes floats; that engine alone. Needs opencv-python-headless. RECORD gets a line of JSON for each.
"""

from __future__ import annotations

import json
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

import edgepress
from edgepress.backends.registry import load_backend
from edgepress.exporter.bundle.manifest import Bundle
from edgepress.exporter.recipe import PreprocessSettings, Recipe

MEAN, STD = np.array([0.485, 0.456, 0.406], np.float32), np.array([0.229, 0.224, 0.225], np.float32)
# Height and width of the picture and of the network.
SIZES = (((224, 224), (224, 224)), ((480, 640), (224, 224)), ((480, 640), (480, 640)), ((1080, 1920), (640, 640)))
TARGETS = ("server-cpu", "cpu")
TURNS, EACH = 15, 3
Floats = NDArray[np.float32]


class Blocks(nn.Module):
    """Depthwise separable convolutions, as phones and boards run them."""

    def __init__(self) -> None:
        super().__init__()
        widths = (16, 24, 32, 48, 64)
        layers: list[nn.Module] = [nn.Conv2d(3, widths[0], 3, 2, 1), nn.ReLU()]
        for before, after in pairwise(widths):
            layers += [nn.Conv2d(before, before, 3, 2, 1, groups=before), nn.ReLU()]
            layers += [nn.Conv2d(before, after, 1), nn.ReLU()]
        self.layers = nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(widths[-1], 10))

    def forward(self, x: torch.Tensor) -> Any:
        """[N, 3, H, W] to [N, 10]."""
        return self.layers(x)


def pictures(size: tuple[int, int], count: int) -> Iterator[NDArray[np.uint8]]:
    """[1, H, W, 3] each: smooth, with edges."""
    rng = np.random.default_rng(0)
    for _ in range(count):
        coarse = rng.integers(0, 256, (9, 12, 3)).astype(np.uint8)
        smooth = cv2.resize(coarse, (size[1], size[0]), interpolation=cv2.INTER_CUBIC).astype(np.int64)
        yield np.clip(smooth + rng.integers(-12, 13, smooth.shape), 0, 255).astype(np.uint8)[None]


def outside(image: NDArray[np.uint8], size: tuple[int, int]) -> Floats:
    """As most programs do it."""
    resized = image[0] if image.shape[1:3] == size else cv2.resize(image[0], (size[1], size[0]))
    pixels = (resized.astype(np.float32) / np.float32(255) - MEAN) / STD
    return np.ascontiguousarray(pixels.transpose(2, 0, 1))[None]


def exported(size: tuple[int, int], inner: tuple[int, int], target: str, precision: str, room: Path) -> list[Bundle]:
    """The bundle that takes bytes, and the one that takes floats."""
    torch.manual_seed(0)
    network, made = Blocks(), []
    images = list(pictures(size, 64))
    settings = PreprocessSettings(size=size, mean=tuple(map(float, MEAN)), std=tuple(map(float, STD)))
    for name, recipe in (("bytes", Recipe(preprocess=settings)), ("floats", Recipe())):
        data = [{"x": image if name == "bytes" else outside(image, inner)} for image in images]
        made.append(
            edgepress.export(
                network,
                torch.rand(1, 3, *inner),
                target=target,
                recipe=recipe,
                name=name,
                calibration=data,
                precision=precision,
                measure=False,
                output=room,
                quiet=True,
            )
        )
    return made


def timed(arms: dict[str, Callable[[], object]]) -> tuple[dict[str, float], dict[str, float]]:
    """Milliseconds of each arm, which take turns: the median of processor time, and the least of wall time.

    The processor's is what it costs on a machine that others use too.
    """
    spent: dict[str, list[float]] = {name: [] for name in arms}
    passed: dict[str, list[float]] = {name: [] for name in arms}
    for turn in range(TURNS):
        for name, arm in arms.items():
            arm()  # what the one before it left in the caches is not its fault
            wall, processor = time.perf_counter(), time.process_time()
            for _ in range(EACH):
                arm()
            if turn:
                spent[name].append((time.process_time() - processor) / EACH * 1e3)
                passed[name].append((time.perf_counter() - wall) / EACH * 1e3)
    return {n: statistics.median(all_) for n, all_ in spent.items()}, {n: min(all_) for n, all_ in passed.items()}


def decibels(expected: list[Floats], found: list[Floats]) -> float:
    """Signal to noise."""
    signal = sum(float((one**2).sum()) for one in expected)
    noise = sum(float(((one - other) ** 2).sum()) for one, other in zip(expected, found, strict=True))
    return 10 * float(np.log10(signal / noise)) if noise else float("inf")


def measured(size: tuple[int, int], inner: tuple[int, int], target: str, precision: str) -> dict[str, Any]:
    """One row."""
    with tempfile.TemporaryDirectory() as room:
        taking_bytes, taking_floats = exported(size, inner, target, precision, Path(room))
        backend = load_backend(taking_bytes.manifest.target.backend)
        engines = [bundle.engine for bundle in (taking_bytes, taking_floats)]
        with backend.open(engines[0], 1) as whole, backend.open(engines[1], 1) as network:
            images = list(pictures(size, 8))
            given = [outside(image, inner) for image in images]
            inside_out = [whole({"x": image})["output"] for image in images]
            outside_out = [network({"x": floats})["output"] for floats in given]
            spent, passed = timed(
                {
                    "inside": lambda: whole({"x": images[0]}),
                    "outside": lambda: network({"x": outside(images[0], inner)}),
                    "alone": lambda: network({"x": given[0]}),
                }
            )
    return {
        "picture": f"{size[1]}x{size[0]}",
        "network": f"{inner[1]}x{inner[0]}",
        "target": target,
        "precision": precision,
        **{name: round(value, 3) for name, value in spent.items()},
        "inside_costs": round(spent["inside"] - spent["alone"], 3),
        "outside_costs": round(spent["outside"] - spent["alone"], 3),
        "wall": {name: round(value, 3) for name, value in passed.items()},
        "agreement_db": round(decibels(outside_out, inside_out), 1),
    }


def main() -> None:
    """All rows."""
    cv2.setNumThreads(1)
    for size, inner in SIZES:
        for target in TARGETS:
            for precision in ("fp32", "int8"):
                row = measured(size, inner, target, precision)
                print(json.dumps(row), flush=True)
                if len(sys.argv) > 1:
                    with Path(sys.argv[1]).open("a") as record:
                        record.write(json.dumps(row) + "\n")


if __name__ == "__main__":
    main()
