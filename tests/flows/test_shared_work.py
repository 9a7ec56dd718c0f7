"""What the targets of one run share is made once, and changes no byte of any bundle."""

from __future__ import annotations

from pathlib import Path

import pytest

from ._flow import Cli, contents

# The calibration data are noted down, and one activation has a range that grows, so that not all schemes need settle at
# the same sample.
MODEL = """
import numpy as np
import torch
from torch import nn


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.stem, self.a, self.b = nn.Conv2d(3, 16, 3, padding=1), nn.Conv2d(16, 16, 3, padding=1), nn.Conv2d(16, 8, 1)
        self.head = nn.Linear(8, 5)

    def forward(self, x):
        x = torch.relu(self.stem(x))
        x = torch.relu(x + self.a(x))
        return self.head(self.b(x).mean((2, 3)))


def model():
    return Net()


def inputs():
    return {"x": torch.rand(2, 3, 12, 12, generator=torch.Generator().manual_seed(0))}


def dynamic():
    return {"x": {0: "batch"}}


def calibration():
    with open("read", "a") as file:
        file.write("*")
    rng = np.random.default_rng(0)
    for index in range(40):
        yield {"x": (1 + index / 10) * rng.standard_normal((16, 3, 12, 12)).astype(np.float32)}
"""
INT8 = ("--precision", "int8", "--no-measure", "-q")


def graphs(output: Path) -> dict[str, bytes]:
    return {name: data for name, data in contents(output).items() if name.endswith("/model.onnx")}


@pytest.mark.slow
def test_a_bundle_does_not_depend_on_the_targets_beside_it(cli: Cli, tmp_path: Path) -> None:
    (tmp_path / "net.py").write_text(MODEL)
    targets = ("cpu", "mobile", "rpi5", "jetson")
    assert cli("export", "net.py", "-t", ",".join(targets), "-o", "together", *INT8).code == 0
    assert cli("export", "net.py", "-t", ",".join(reversed(targets)), "-o", "reversed", *INT8).code == 0
    for target in targets:
        assert cli("export", "net.py", "-t", target, "-o", "alone", *INT8).code == 0
    assert len(graphs(tmp_path / "alone")) == len(targets)
    assert graphs(tmp_path / "together") == graphs(tmp_path / "alone") == graphs(tmp_path / "reversed")


@pytest.mark.parametrize("more", [(), pytest.param(("--all-samples",), marks=pytest.mark.slow)], ids=["settled", "all"])
def test_another_target_does_not_read_the_data_again(cli: Cli, tmp_path: Path, more: tuple[str, ...]) -> None:
    (tmp_path / "net.py").write_text(MODEL)
    reads = []
    for targets in ("jetson", "jetson,rtx,mobile,rpi5"):
        assert cli("export", "net.py", "-t", targets, "-o", targets, *INT8, *more).code == 0
        reads.append(len((tmp_path / "read").read_text()))
        (tmp_path / "read").unlink()
    # Where ranges settle later for one scheme than for another, the pass goes on, which begins the data anew.
    # For the samples that are judged on, for all ranges, which go on behind the point where some had settled, for a few
    # samples that a lift runs, where means are to be made good, and for more that the engine is held on: how many of
    # those are cheap hangs on what a scheme rounds.
    assert reads[0] <= 5
    assert reads[0] <= reads[1] <= reads[0] + (1 if more else 2)
