"""Calibration data whose largest values grow as they are more are said to: what is beyond them is clipped."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import edgepress


def said(samples: Any, output: Path) -> dict[str, str]:
    torch.manual_seed(0)
    layers = [nn.Linear(16, 32), nn.ReLU(), nn.Linear(32, 32), nn.ReLU(), nn.Linear(32, 8)]
    data = [{"input": batch.astype(np.float32)} for batch in np.split(samples, len(samples) // 8)]
    bundle = edgepress.export(
        nn.Sequential(*layers).eval(),
        {"input": torch.randn(2, 16)},
        target="server-cpu",
        dynamic={"input": {0: "n"}},
        calibration=data,
        precision="int8",
        measure=False,
        output=output,
    )
    return {gap["subject"]: gap["why"] for gap in json.loads((bundle.path / "report.json").read_text())["missing"]}


@pytest.mark.parametrize(("spread", "tells"), [(1.3, True), (0.2, False)])
def test_strengths_of_all_sizes_are_told_from_alike_ones(tmp_path: Path, spread: float, tells: bool) -> None:
    rng = np.random.default_rng(1)
    strengths = np.sort(np.exp(spread * rng.normal(size=(256, 1))), axis=0)
    mixed = np.concatenate([strengths[::4][rng.permutation(64)], np.delete(strengths, np.s_[::4], 0)])
    found = said(mixed * rng.normal(size=(256, 16)), tmp_path)
    assert ("growing" in found) == tells
    if tells:
        assert "from the first 32 to all 256 samples by" in found["growing"]
