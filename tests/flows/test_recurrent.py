"""Recurrent models: in integers where the runtime can; and what natively crashed on them does not end the export."""

from __future__ import annotations

import runpy
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import torch

from ._flow import SPOTTER, Cli, read

# An LSTM and a GRU in series, in float16: a layout optimizer of onnxruntime 1.31 crashes on that.
SERIES = """
import torch
from torch import nn


class Series(nn.Module):
    def __init__(self):
        super().__init__()
        self.first, self.then = nn.LSTM(16, 24, batch_first=True), nn.GRU(24, 24, batch_first=True)
        self.out = nn.Linear(24, 11)

    def forward(self, x):
        return self.out(self.then(self.first(x)[0])[0])


def model():
    torch.manual_seed(0)
    return Series()


def inputs():
    return {"x": torch.randn(2, 12, 16, generator=torch.Generator().manual_seed(0))}


def dynamic():
    return {"x": {0: "batch", 1: "time"}}
"""


def test_a_gru_behind_an_lstm_in_float16(cli: Cli, tmp_path: Path) -> None:
    path = tmp_path / "series.py"
    path.write_text(SERIES)
    ran = cli("export", path, "-t", "jetson@jetpack-5.1", "--precision", "fp16", "--no-measure")
    assert ran.code == 0, ran.err
    assert (tmp_path / "dist" / "series-jetson-orin-nano-8gb" / "model.onnx").is_file()


# Two layers of both directions, a layer that goes on from states that are given, and a GRU behind them.
SPEECH = """
import numpy as np
import torch
from torch import nn


class Speech(nn.Module):
    def __init__(self):
        super().__init__()
        self.both = nn.LSTM(16, 32, 2, batch_first=True, bidirectional=True)
        self.on, self.then = nn.LSTM(64, 48), nn.GRU(48, 24, batch_first=True)
        self.out = nn.Linear(24, 5)

    def forward(self, x, h, c):
        y = self.both(x)[0].transpose(0, 1)
        y, (h, c) = self.on(y, (h, c))
        return self.out(self.then(y.transpose(0, 1))[0]), h, c


def model():
    torch.manual_seed(0)
    return Speech()


def batch(index, samples=4):
    rng = np.random.default_rng(index)
    shapes = {"x": (samples, 12, 16), "h": (1, samples, 48), "c": (1, samples, 48)}
    return {name: (rng.normal(size=shape) * 0.5).astype(np.float32) for name, shape in shapes.items()}


def inputs():
    return {name: torch.from_numpy(array) for name, array in batch(99, 2).items()}


def dynamic():
    return {"x": {0: "batch", 1: "time"}, "h": {1: "batch"}, "c": {1: "batch"}}


def calibration():
    return (batch(index) for index in range(4))
"""


def test_an_lstm_runs_in_integers_where_the_runtime_can(cli: Cli, tmp_path: Path) -> None:
    (bundle,) = _exported(SPOTTER, ["server-cpu"], cli, tmp_path)
    report = read(bundle)
    assert (report["coverage"]["integer"], report["coverage"]["total"]) == (2, 2)
    assert report["left_float"] == {}
    assert report["sizes"]["weights"] < 0.4 * report["sizes"]["weights_fp32"]


@pytest.mark.slow
def test_recurrent_layers_of_all_kinds_are_counted_and_those_in_float_named(cli: Cli, tmp_path: Path) -> None:
    *integer, other = _exported(SPEECH, ["server-cpu", "rpi5", "cpu"], cli, tmp_path)
    for bundle in integer:
        report = read(bundle)
        assert (report["coverage"]["integer"], report["coverage"]["total"]) == (4, 5)
        assert report["left_float"].keys() == {"then/GRU"}
        assert "no integer kernel" in report["left_float"]["then/GRU"]
        assert min(one["sqnr_db"] for one in report["parity"]["engine"].values()) > 25
        assert cli("verify", bundle).code == 0
        _runs_elsewhere(bundle / "model.onnx", tmp_path)
    report = read(other)
    # Of both directions OpenVINO makes a layer each.
    assert (report["coverage"]["integer"], report["coverage"]["total"]) == (1, 7)
    assert report["left_float"].keys() == {"both/LSTM", "both/LSTM_1", "on/LSTM", "then/GRU"}


def _exported(model: str, targets: list[str], cli: Cli, directory: Path) -> list[Path]:
    (directory / "net.py").write_text(model)
    words = [word for target in targets for word in ("-t", target)]
    ran = cli("export", directory / "net.py", *words, "--precision", "int8", "--no-measure", "-q")
    assert ran.code == 0, ran.err
    return [directory / "dist" / f"net-{target}" for target in targets]


def _runs_elsewhere(graph: Path, directory: Path) -> None:
    """Another length and another batch, against torch."""
    names = runpy.run_path(str(directory / "net.py"))
    given = {name: np.concatenate([array] * 2, axis=int(name != "x")) for name, array in names["batch"](7).items()}
    given["x"] = np.concatenate([given["x"]] * 3, axis=1)
    with torch.no_grad():
        expected = names["model"]().eval()(*(torch.from_numpy(given[name]) for name in ("x", "h", "c")))
    for right, found in zip(expected, onnxruntime.InferenceSession(graph).run(None, given), strict=True):
        noise = float(((right.numpy() - found) ** 2).sum() / (right.numpy() ** 2).sum())
        assert -10 * np.log10(noise) > 25
