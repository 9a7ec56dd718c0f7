from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn

from edgepress import export
from edgepress.errors import VerificationError


class Cancels(nn.Module):
    """Takes the difference of two large and nearly equal values: float16 keeps nothing of it."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.first, self.last = nn.Linear(8, 16), nn.Linear(16, 4)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = torch.relu(self.first(x))
        return self.last((y + 3000) - y.roll(1, 1) - 3000)


def test_a_refusal_of_fp16_names_the_first_node_that_falls_short(tmp_path: Path) -> None:
    x = torch.randn(64, 8, generator=torch.Generator().manual_seed(0))
    with pytest.raises(
        VerificationError, match=r"^fp16 does not reach .*The first node below that is '\S*Sub\S*' \(Sub"
    ):
        export(
            Cancels().eval(), {"x": x[:2]}, target="jetson", precision="fp16", output=tmp_path, name="cancels",
            dynamic={"x": {0: "batch"}}, calibration=[{"x": batch.numpy()} for batch in x.split(8)], measure=False,
        )  # fmt: skip
    assert not list(tmp_path.iterdir())
