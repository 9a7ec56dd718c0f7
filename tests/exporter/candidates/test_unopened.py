"""Engines that OpenVINO does not open with its floats in bf16, and opens with them in float32."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

import edgepress
from edgepress.backends import openvino
from edgepress.errors import UnopenedError

pytest.importorskip("openvino")


class Volumes(nn.Module):
    """One channel a group, between two convolutions of one place."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.layers = nn.Sequential(
            nn.Conv3d(3, 8, 1), nn.ELU(), nn.Conv3d(8, 8, 3, padding=1, groups=8), nn.ELU(), nn.Conv3d(8, 4, 1)
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.layers(x)


def exported(directory: Path, **options: str) -> edgepress.Bundle:
    random = np.random.default_rng(0)
    data = [{"x": random.normal(size=(2, 3, 4, 6, 6)).astype(np.float32)} for _ in range(8)]
    net = Volumes().eval()
    given = (torch.zeros(2, 3, 4, 6, 6),)
    return edgepress.export(net, given, target="cpu", calibration=data, measure=False, output=directory, **options)


def test_depthwise_convolutions_of_volumes_are_opened(tmp_path: Path) -> None:
    """Where floats are bf16 OpenVINO 2026.4.1 says "No suitable implementations"."""
    bundle = exported(tmp_path / "bundle", precision="int8")
    assert bundle.manifest.engine.precision == "int8"


def test_another_precision_is_shipped_where_one_does_not_open(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plain, told = openvino._compiled, "OpenVINO does not open model.xml: no kernel."

    def compiled(engine, threads, **settings):
        if engine.precision == "int8":
            raise UnopenedError(told)
        return plain(engine, threads, **settings)

    monkeypatch.setattr(openvino, "_compiled", compiled)
    bundle = exported(tmp_path / "bundle")
    assert bundle.manifest.engine.precision != "int8"
    with pytest.raises(UnopenedError, match="no kernel"):
        exported(tmp_path / "int8", precision="int8")
