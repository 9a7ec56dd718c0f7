"""A model whose answers can be told from a picture by eye: which cells of 16 pixels are red, green or blue."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

HEIGHT, WIDTH, CELL = 48, 64, 16
COLOURS = {"red": (230, 0, 0), "green": (0, 230, 0), "blue": (0, 0, 230)}

SPOTS = """
import torch
from torch import nn
from torch.nn.functional import avg_pool2d

from edgepress.boxes import select

H, W, CELL = 48, 64, 16


class Spots(nn.Module):
    def __init__(self):
        super().__init__()
        self.mix = nn.Conv2d(3, 3, 1)
        with torch.no_grad():
            self.mix.weight.copy_(4 * (2 * torch.eye(3) - 1)[..., None, None])
            self.mix.bias.zero_()

    def forward(self, image):
        pixels = self.mix(image)
        cells = avg_pool2d(pixels, CELL)
        return cells, pixels, cells.amax((2, 3))


def model():
    return Spots().eval()


def preprocess(image):
    return image.permute(0, 3, 1, 2).float() / 255


def postprocess(cells, pixels, best):
    y, x = torch.meshgrid(torch.arange(H // CELL), torch.arange(W // CELL), indexing="ij")
    corners = (torch.stack((x, y, x + 1, y + 1), -1) * CELL).reshape(1, -1, 4).float()
    boxes, scores, classes = select(
        corners.expand(cells.shape[0], -1, -1), cells.flatten(2).sigmoid(), score=0.5, rows=8
    )
    return {"boxes": boxes, "scores": scores, "classes": classes, "mask": pixels, "kinds": best}


def _images(seed):
    generator = torch.Generator().manual_seed(seed)
    kinds = torch.randint(0, 4, (4, H // CELL, W // CELL), generator=generator)
    bright = 0.6 + 0.4 * torch.rand(*kinds.shape, 1, generator=generator)
    cells = torch.cat((torch.eye(3), torch.zeros(1, 3)))[kinds] * bright
    return (cells.repeat_interleave(CELL, 1).repeat_interleave(CELL, 2) * 255).to(torch.uint8)


def inputs():
    return {"image": _images(0)}


def dynamic():
    return {"image": {0: "batch"}}


def calibration():
    for seed in range(4):
        yield {"image": _images(seed).numpy()}
"""


def spots(path: Path, cells: dict[tuple[int, int], str], *, times: int = 1) -> Path:
    """A grey picture with coloured cells, by row and column, every pixel of it so many times across and down."""
    pixels = np.full((HEIGHT, WIDTH, 3), 128, np.uint8)
    for (row, column), colour in cells.items():
        pixels[row * CELL : (row + 1) * CELL, column * CELL : (column + 1) * CELL] = COLOURS[colour]
    Image.fromarray(pixels.repeat(times, 0).repeat(times, 1)).save(path)
    return path
