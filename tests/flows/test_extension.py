"""Another package adds a backend, a place, a precision, a range method and a lift, by one file or line each.

A user adds a scheme and a target as files. Nothing of edgepress is edited, and an export uses all of them.
"""

from __future__ import annotations

import json
import os
import re
from pathlib import Path

import pytest

from ._flow import SMALL, Cli

POINTS = {
    "backends": "twin = theirs_backend:Twin",
    "places": "bench = theirs_place:Bench",
    "precisions": "int8-coarse = theirs_precision:COARSE",
    "range_methods": "inner = theirs_ranges:find",
    "lifts": "halve = theirs_lift:lift",
}
FILES = {
    "theirs_backend": """
from edgepress.backends.onnxruntime import OnnxRuntime


class Twin(OnnxRuntime):
    name = "twin"
""",
    "theirs_place": '''
from edgepress.backends.places import Local
from edgepress.profiles.timing import in_turn, taking_turns
from edgepress.profiles.timing.measure import Settings

# Real turns on the bench, and no more of them than there must be.
in_turn.SECONDS, taking_turns._LEAST_SET = 1.0, 0.2
in_turn.BESIDE = Settings(warmup_seconds=0.1, seconds=0.6, samples=50)


class Bench(Local):
    """A board on the bench, which this test plays with the processor it has."""

    name = "bench"
    order = 1

    def why_not(self, target):
        return "" if target.backend == "twin" else "nothing but twins run on the bench"

    def evidence(self, target):
        return "measured"

    def how(self, target):
        return "the engine, on the bench"
''',
    "theirs_precision": """
from edgepress.profiles.device.grid import Grid
from edgepress.profiles.device.precision import Precision

COARSE = Precision(
    name="int8-coarse",
    title="INT8, one scale a weight",
    rank=4,
    integer=True,
    storage="float32",
    weights=Grid(bits=8, signed=True, symmetric=True, granularity="tensor"),
    needs_data=True,
    least_db=10.0,
    golden_db=3.0,
)
""",
    "theirs_ranges": '''
def find(seen):
    """Nine tenths of what was seen."""
    return 0.9 * seen.minimum, 0.9 * seen.maximum
''',
    "theirs_lift": '''
from edgepress.exporter.quantization.lifts.lifted import Lifted


def lift(graph, placement, statistics, scheme):
    """It changes nothing, and says what it was asked about."""
    return Lifted(note=f"seen {len(placement.weights)} layers in {scheme.weight}")
''',
}
TARGET = """
name = "board"
title = "A board on the bench"
arch = "aarch64"
backend = "twin"
precisions = ["int8-coarse", "fp32"]
scheme = "ours.toml"
toolchain = "onnxruntime-1.31"
"""
RECIPE = """
precision = "int8-coarse"
ranges = "inner"
lifts = ["halve"]
"""


@pytest.fixture
def site(tmp_path: Path) -> Path:
    """The package, installed where PYTHONPATH finds it."""
    site = tmp_path / "site"
    info = site / "theirs-1.0.dist-info"
    info.mkdir(parents=True)
    for name, text in FILES.items():
        (site / f"{name}.py").write_text(text)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: theirs\nVersion: 1.0\n")
    points = "\n".join(f"[edgepress.{group}]\n{point}\n" for group, point in POINTS.items())
    (info / "entry_points.txt").write_text(points)
    return site


def test_one_file_each_is_enough(command, site: Path, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    import edgepress.profiles.device.target as module

    scheme = (Path(module.__file__).parent / "schemes" / "onnxruntime-x86.toml").read_text()
    (tmp_path / "ours.toml").write_text(scheme.replace('name = "onnxruntime-x86"', 'name = "ours"'))
    (tmp_path / "board.toml").write_text(TARGET)
    (tmp_path / "recipe.toml").write_text(RECIPE)
    (tmp_path / "net.py").write_text(SMALL)
    env = {"PYTHONPATH": str(site)}
    words = ("export", "net.py", "-t", "board.toml", "--recipe", "recipe.toml", "-q")
    ran = command(*words, cwd=tmp_path, env=env)
    assert ran.code == 0, ran.err

    bundle = tmp_path / "dist" / "net-board"
    report = json.loads((bundle / "report.json").read_text())
    manifest = json.loads((bundle / "manifest.json").read_text())
    # The backend and the place: the engine ran on the bench, which shows what the device does.
    assert manifest["engine"]["backend"] == "twin"
    assert report["parity_how"] == "the engine, on the bench"
    assert [e["kind"] for e in report["evidence"] if "Golden outputs" in e["claim"]] == ["measured"]
    assert report["latency"]["engine"]["p50"] > 0
    # The scheme and the precision: one scale a weight.
    assert manifest["target"]["scheme"]["name"] == "ours"
    assert report["precision"] == "int8-coarse"
    assert _scales(bundle / "model.onnx") == {()}
    # The lift and the range method.
    said = r"Lift halve \(seen 2 layers in int8( in 7 bits)? per tensor\)"  # in 7 on processors without VNNI
    assert any(re.search(said, note) for note in report["notes"])
    assert manifest["recipe"]["ranges"] == "inner"
    assert command("verify", bundle, cwd=tmp_path, env=env).code == 0
    shown = command("doctor", cwd=tmp_path, env=env)
    assert "twin" in shown.out


def test_another_package_brings_targets_by_name(command, site: Path, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    """With a scheme of its own; a name that edgepress has already is refused, and not taken in silence."""
    import edgepress.profiles.device.target as module

    devices = site / "theirs_devices"
    (devices / "targets").mkdir(parents=True)
    (devices / "schemes").mkdir()
    (devices / "__init__.py").touch()
    scheme = (Path(module.__file__).parent / "schemes" / "onnxruntime-x86.toml").read_text()
    (devices / "schemes/theirs.toml").write_text(scheme.replace('name = "onnxruntime-x86"', 'name = "theirs"'))
    (devices / "targets/board.toml").write_text(TARGET.replace("ours.toml", "theirs"))
    points = site / "theirs-1.0.dist-info/entry_points.txt"
    points.write_text(f"{points.read_text()}\n[edgepress.devices]\ntheirs = theirs_devices\n")
    env = {"PYTHONPATH": os.pathsep.join(filter(None, (str(site), os.environ.get("PYTHONPATH"))))}
    ran = command("targets", "board", cwd=tmp_path, env=env)
    assert "A board on the bench" in ran.out, ran.err
    (devices / "targets/cpu.toml").write_text(TARGET.replace('"board"', '"cpu"'))
    command("targets", cwd=tmp_path, env=env).failed(1, "Two packages have targets/cpu.toml")


def test_what_is_not_installed_any_more_is_named(cli: Cli, tmp_path: Path) -> None:
    (tmp_path / "board.toml").write_text(TARGET.replace('"int8-coarse", ', "").replace('scheme = "ours.toml"\n', ""))
    (tmp_path / "net.py").write_text(SMALL)
    cli("export", "net.py", "-t", "board.toml").failed(1, "twin", "onnxruntime")
    alone = TARGET.replace('"twin"', '"onnxruntime"').replace('"ours.toml"', '"onnxruntime-x86"')
    (tmp_path / "board.toml").write_text(alone)
    cli("export", "net.py", "-t", "board.toml").failed(1, "int8-coarse", "board.toml")


def _scales(path: Path) -> set[tuple[int, ...]]:
    """Shapes of the scales of the quantized weights."""
    import onnx

    model = onnx.load(path)
    shapes = {tensor.name: tuple(tensor.dims) for tensor in model.graph.initializer}
    integer = {t.name for t in model.graph.initializer if t.data_type == onnx.TensorProto.INT8 and len(t.dims) > 1}
    return {
        shapes[node.input[1]]
        for node in model.graph.node
        if node.op_type == "DequantizeLinear" and node.input[0] in integer
    }
