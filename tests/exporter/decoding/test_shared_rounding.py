"""Targets of one run that want the same weights have them rounded once."""

from __future__ import annotations

from pathlib import Path

import pytest

import edgepress
from edgepress.exporter.decoding import by_texts
from edgepress.exporter.recipe import WeightSettings

from ..._llama import saved_llama


@pytest.mark.parametrize("targets", [("server-cpu", "rpi5"), ("server-cpu", "cpu")])
def test_weights_are_rounded_by_texts_once_for_all_targets(source, tmp_path, monkeypatch, targets):
    called = []

    def counted(*arguments, **named):
        called.append(1)
        return plain(*arguments, **named)

    plain = by_texts.round_with_texts
    monkeypatch.setattr(by_texts, "round_with_texts", counted)
    settings = WeightSettings(block=32, symmetric=True)
    made = edgepress.export_all(
        source, targets=targets, precision="int4", weight_settings=settings, measure=False, output=tmp_path
    )
    assert len(called) == 1
    reports = [(bundle.path / "report.json").read_text() for bundle in made]
    assert all('"error compensation"' in report for report in reports)
    assert len({bundle.manifest.model.graph_digest for bundle in made}) == 1


@pytest.fixture
def source(tmp_path: Path) -> Path:
    return saved_llama(tmp_path / "model", num_hidden_layers=1, initializer_range=0.2)
