"""Adaptive average pools whose input may have any height and width."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import torch
from torch import nn

from edgepress import export


class Pooled(nn.Module):
    def __init__(self, size: int | tuple[int | None, int | None]) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.conv, self.pool, self.head = nn.Conv2d(3, 8, 3, 2, 1), nn.AdaptiveAvgPool2d(size), nn.Conv2d(8, 4, 1)

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        return self.head(self.pool(self.conv(image))).flatten(2)


@pytest.mark.parametrize("size", [1, 2, 3, (2, 5)])
@pytest.mark.parametrize("precision", ["fp32", "int8"])
@pytest.mark.parametrize("target", ["cpu", "server-cpu"])
def test_free_sizes_are_pooled_as_torch_pools_them(
    tmp_path: Path, target: str, precision: str, size: int | tuple[int, int]
) -> None:
    net = Pooled(size).eval()
    image = torch.randn(64, 3, 16, 24, generator=torch.Generator().manual_seed(0)) + 1
    bundle = export(
        net, {"image": image[:2]}, target=target, precision=precision, output=tmp_path, name="pooled",
        dynamic={"image": {0: "batch", 2: "height", 3: "width"}},
        calibration=[{"image": x.numpy()} for x in image.split(8)], measure=False,
    )  # fmt: skip
    graph = onnxruntime.InferenceSession(bundle.graph.path, providers=["CPUExecutionProvider"])
    # In int8 the means of fewer places are wider than what the ranges were fitted to.
    for height, width in ((16, 24), (19, 31), *(() if precision == "int8" else ((3, 2), (40, 7), (1, 1)))):
        x = torch.randn(4, 3, height, width, generator=torch.Generator().manual_seed(1)) + 1
        with torch.no_grad():
            right = net(x).numpy()
        error = graph.run(None, {"image": x.numpy()})[0] - right
        assert 10 * np.log10(np.sum(right**2) / np.sum(error**2)) > (90 if precision == "fp32" else 25)
