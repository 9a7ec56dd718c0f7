"""int8 at sizes that its data do not have is held against FP32, and what it loses there is said with figures."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
import torch
from torch import nn

import edgepress
from edgepress.backends.base import AxisRange


class Squared(nn.Module):
    """Squares the sum over all places, which the data have many of, or their mean."""

    def __init__(self, mean: bool) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.mean, self.conv, self.head = mean, nn.Conv2d(3, 8, 3, 2, 1), nn.Linear(8, 6)

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        seen = self.conv(image)
        return self.head(seen.mean((2, 3)) if self.mean else seen.sum((2, 3)).square() / 100)


@pytest.mark.parametrize("mean", [True, False])
def test_what_is_lost_at_sizes_that_the_data_lack_is_said(mean: bool, tmp_path: Path) -> None:
    image = torch.randn(64, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    reach = AxisRange(smallest=16, usual=32, largest=64)
    bundle = edgepress.export(
        Squared(mean).eval(), {"image": image[:2]}, target="server-cpu", precision="int8",
        dynamic={"image": {0: "batch", 2: "height", 3: "width"}}, axes={"height": reach, "width": reach},
        calibration=[{"image": x.numpy()} for x in image.split(8)], measure=False, output=tmp_path,
    )  # fmt: skip
    found = {gap["subject"]: gap["why"] for gap in json.loads((bundle.path / "report.json").read_text())["missing"]}
    assert ("sizes" in found) == (not mean)
    if not mean:
        figures = re.match(
            r"At height 64, width 64, .* has (\S+) dB .* and (\S+) dB at height 32, width 32", found["sizes"]
        )
        assert figures is not None and float(figures[1]) < float(figures[2]) - 3
