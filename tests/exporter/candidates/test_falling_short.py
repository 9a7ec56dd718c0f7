from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn

from edgepress import export
from edgepress.errors import VerificationError


class Turns(nn.Module):
    """Takes the sine of a sine: what the inner one is off in float16 is thirty times as much of an angle."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.first, self.last = nn.Linear(8, 16), nn.Linear(16, 4)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = torch.tanh(self.first(x))
        return self.last(torch.sin(30 * torch.sin(30 * y)))


def test_a_refusal_of_fp16_names_the_first_node_that_falls_short(tmp_path: Path) -> None:
    x = torch.randn(64, 8, generator=torch.Generator().manual_seed(0))
    with pytest.raises(
        VerificationError, match=r"^fp16 does not reach .*The first node below that is '\S*[sS]in\S*' \(Sin"
    ):
        export(
            Turns().eval(), {"x": x[:2]}, target="jetson", precision="fp16", output=tmp_path, name="turns",
            dynamic={"x": {0: "batch"}}, calibration=[{"x": batch.numpy()} for batch in x.split(8)], measure=False,
        )  # fmt: skip
    assert not list(tmp_path.iterdir())
