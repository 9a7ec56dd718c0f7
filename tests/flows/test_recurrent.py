"""Recurrent models: what natively crashed on them does not end the export."""

from __future__ import annotations

from pathlib import Path

from ._flow import Cli

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
