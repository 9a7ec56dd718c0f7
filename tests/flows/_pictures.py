"""A model that takes images in bytes, and pictures to calibrate it on."""

from __future__ import annotations

import textwrap
from pathlib import Path

import numpy as np
from PIL import Image

MODEL = """
    import numpy as np
    import torch
    from torch import nn
    from torch.nn import functional

    def model():
        torch.manual_seed(0)
        net = nn.Sequential(
            nn.Conv2d(3, 16, 3, 2, 1), nn.BatchNorm2d(16), nn.ReLU(), nn.Conv2d(16, 24, 3, 2, 1), nn.ReLU(),
            nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(24, 5),
        )
        net[-1].weight.data *= 40  # scores that differ, as those of a network that was trained
        return net

    def preprocess(image):
        pixels = functional.interpolate(image.permute(0, 3, 1, 2).float(), size=(32, 32), mode="bilinear")
        return pixels / 127.5 - 1

    def postprocess(logits):
        return {"label": logits.argmax(-1), "scores": logits.softmax(-1)}

    def inputs():
        return {"image": torch.randint(0, 256, (2, 40, 48, 3), dtype=torch.uint8)}

    def dynamic():
        return {"image": {0: "batch"}}
"""


def photographs(directory: Path, count: int = 48) -> Path:
    rng = np.random.default_rng(0)
    for index in range(count):
        patches = Image.fromarray(rng.integers(0, 256, (5, 6, 3)).astype(np.uint8))
        path = directory / f"class{index % 3}" / f"{index:03}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        patches.resize((48, 40) if index % 4 else (60, 60), Image.Resampling.BICUBIC).save(path, quality=95)
    return directory


def photo_project(directory: Path) -> Path:
    """A directory with `photo.py` and `photos`."""
    (directory / "photo.py").write_text(textwrap.dedent(MODEL))
    photographs(directory / "photos")
    return directory


# For `edgepress export photo.py -t TARGET`.
PHOTO_OPTIONS = ("--precision", "int8", "--calibration", "photos", "--fit", "crop", "--no-measure", "-q")
