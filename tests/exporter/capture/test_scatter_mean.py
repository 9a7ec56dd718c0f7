"""Means of what is scattered to the same place, which ONNX has no operator for."""

from __future__ import annotations

from pathlib import Path

import onnxruntime
import pytest
import torch
from torch import nn

from edgepress import export


class Scattered(nn.Module):
    """Eight features to five places: the last is met by none, one by three."""

    def __init__(self, reduce: str, include_self: bool, used: int = 8) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.dense, self.reduce, self.include_self = nn.Linear(8, 8), reduce, include_self
        self.register_buffer("places", torch.tensor([0, 1, 1, 2, 2, 2, 3, 3])[:used])

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        places = self.places.expand(x.shape[0], -1)
        return x[:, :5].scatter_reduce(1, places, self.dense(x), self.reduce, include_self=self.include_self)


def agrees(net: nn.Module, path: Path) -> None:
    x = torch.randn(4, 8, generator=torch.Generator().manual_seed(0))
    how = {"target": "server-cpu", "precision": "fp32", "measure": False, "output": path}
    bundle = export(net.eval(), {"x": x}, dynamic={"x": {0: "n"}}, **how)
    (found,) = onnxruntime.InferenceSession(bundle.path / "model.onnx").run(None, {"x": x[:3].numpy()})
    torch.testing.assert_close(torch.from_numpy(found), net(x[:3]).detach())


@pytest.mark.parametrize("include_self", [True, False])
@pytest.mark.parametrize("reduce", ["mean", pytest.param("sum", marks=pytest.mark.slow)])
def test_the_mean_of_what_is_scattered_is_that_of_torch(tmp_path: Path, reduce: str, include_self: bool) -> None:
    agrees(Scattered(reduce, include_self), tmp_path)


@pytest.mark.parametrize("reduce", ["mean", pytest.param("amax", marks=pytest.mark.slow)])
def test_fewer_places_than_values_take_the_first_of_these(tmp_path: Path, reduce: str) -> None:
    """As torch has it; ONNX has as many of both, and a fixed free axis was blamed."""
    agrees(Scattered(reduce, False, used=6), tmp_path)
