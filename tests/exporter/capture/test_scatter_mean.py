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

    def __init__(self, reduce: str, include_self: bool) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.dense, self.reduce, self.include_self = nn.Linear(8, 8), reduce, include_self
        self.register_buffer("places", torch.tensor([0, 1, 1, 2, 2, 2, 3, 3]))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        places = self.places.expand(x.shape[0], 8)
        return x[:, :5].scatter_reduce(1, places, self.dense(x), self.reduce, include_self=self.include_self)


@pytest.mark.parametrize("include_self", [True, False])
@pytest.mark.parametrize("reduce", ["mean", pytest.param("sum", marks=pytest.mark.slow)])
def test_the_mean_of_what_is_scattered_is_that_of_torch(tmp_path: Path, reduce: str, include_self: bool) -> None:
    net = Scattered(reduce, include_self).eval()
    x = torch.randn(4, 8, generator=torch.Generator().manual_seed(0))
    bundle = export(
        net,
        {"x": x},
        target="server-cpu",
        dynamic={"x": {0: "n"}},
        precision="fp32",
        measure=False,
        output=tmp_path,
    )
    (found,) = onnxruntime.InferenceSession(bundle.path / "model.onnx").run(None, {"x": x[:3].numpy()})
    torch.testing.assert_close(torch.from_numpy(found), net(x[:3]).detach())
