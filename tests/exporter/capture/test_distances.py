from __future__ import annotations

import math
from pathlib import Path

import onnxruntime
import pytest
import torch
from torch import nn

from edgepress import export


class Nearest(nn.Module):
    """Distances of tokens to some points, and to each other."""

    def __init__(self, points: int, p: float) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.linear, self.points, self.p = nn.Linear(6, 4), nn.Parameter(torch.randn(points, 4)), p

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        y = self.linear(x)
        return torch.cdist(y, self.points, self.p), torch.cdist(y, y, self.p)


@pytest.mark.parametrize("p", [2.0, 1.0, 3.0, 0.0, math.inf])
@pytest.mark.parametrize("points", [5, 40])
def test_distances_of_few_rows_and_of_many_are_exported(tmp_path: Path, points: int, p: float) -> None:
    module = Nearest(points, p).eval()
    bundle = export(
        module, {"x": torch.randn(2, 7, 6)}, target="server-cpu", precision="fp32", output=tmp_path, name="nearest",
        dynamic={"x": {0: "batch", 1: "tokens"}}, measure=False,
    )  # fmt: skip
    x = torch.randn(3, 11, 6)
    got = onnxruntime.InferenceSession(bundle.graph.path).run(None, {"x": x.numpy()})
    with torch.no_grad():
        for found, wanted in zip(got, module(x), strict=True):
            # A root of what rounding leaves of a distance to itself, which is 0.
            torch.testing.assert_close(torch.from_numpy(found), wanted, atol=2e-3, rtol=1e-4)
