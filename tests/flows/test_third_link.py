"""An engine that computes something else than its graph is never shipped, whatever the golden inputs let through."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from ._flow import SMALL, Ran

# A runtime whose int8 is off by a fifth: 14 dB, where its graph has more than 30 and the golden inputs ask for 3.
CROOKED = """
from edgepress.backends.base import Session
from edgepress.backends.onnxruntime import OnnxRuntime


class Crooked(OnnxRuntime):
    name = "crooked"

    def _open(self, engine, threads):
        session = super()._open(engine, threads)
        lifted = b"_smooth" in engine.path.read_bytes() or b"equalized" in engine.path.read_bytes()
        wrong = engine.precision == "int8" and (lifted or engine.target.options["fault"] == "always")
        return Scaled(session) if wrong else session


class Scaled(Session):
    def __init__(self, inner):
        self.inner = inner

    def __call__(self, feed):
        return {name: array * array.dtype.type(1.2) for name, array in self.inner(feed).items()}
"""
TARGET = """
name = "crooked"
title = "A runtime that computes wrongly"
arch = "any"
backend = "crooked"
precisions = ["int8", "fp32"]
scheme = "onnxruntime-x86"
toolchain = "onnxruntime-1.31"

[options]
fault = "{fault}"
"""
Command = Callable[..., Ran]


@pytest.fixture
def crooked(command: Command, tmp_path: Path) -> Callable[..., Ran]:
    """Export a small model to the crooked runtime."""
    site = tmp_path / "site"
    (site / "crooked-1.0.dist-info").mkdir(parents=True)
    (site / "crooked.py").write_text(CROOKED)
    (site / "crooked-1.0.dist-info" / "METADATA").write_text("Metadata-Version: 2.1\nName: crooked\nVersion: 1.0\n")
    (site / "crooked-1.0.dist-info" / "entry_points.txt").write_text(
        "[edgepress.backends]\ncrooked = crooked:Crooked\n"
    )
    (tmp_path / "net.py").write_text(SMALL)

    def export(fault: str, *words: str) -> Ran:
        (tmp_path / "crooked.toml").write_text(TARGET.format(fault=fault))
        return command(
            *("export", "net.py", "-t", "crooked.toml", "--no-measure", "-q", *words),
            cwd=tmp_path,
            env={"PYTHONPATH": str(site)},
        )

    return export


def test_an_engine_that_strays_from_its_graph_is_refused(crooked: Callable[..., Ran], tmp_path: Path) -> None:
    ran = crooked("always", "--precision", "int8")
    ran.failed(4, "int8 engine does not compute what its own graph does", "calibration samples", "--precision")
    assert not (tmp_path / "dist").exists()


def test_where_the_precision_is_ours_to_choose_the_next_one_is_shipped(
    crooked: Callable[..., Ran], tmp_path: Path
) -> None:
    assert crooked("always").code == 0
    report = json.loads((tmp_path / "dist/net-crooked/report.json").read_text())
    assert report["precision"] == "fp32"
    assert "does not compute what its own graph does" in report["choice"]["because"]
    out = next(one for one in report["choice"]["contenders"] if one["precision"] == "int8")
    assert not out["kept"]


def test_an_honest_engine_says_how_close_it_is(command: Command, tmp_path: Path) -> None:
    (tmp_path / "net.py").write_text(SMALL)
    assert command("export", "net.py", "-t", "cpu", "--precision", "int8", "--no-measure", "-q", cwd=tmp_path).code == 0
    report = json.loads((tmp_path / "dist/net-cpu/report.json").read_text())
    (claim,) = (e["claim"] for e in report["evidence"] if "computes what model.onnx does" in e["claim"])
    assert "calibration samples" in claim
