"""An engine that is not what its graph says is caught by the export that makes it, and by `verify` where it is put."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from edgepress.exporter.bundle.lineage import engine_digest
from edgepress.exporter.bundle.manifest import file_entry, hash_files

from ._flow import SMALL, Cli, Ran, read
from ._planted import plant

# A runtime that plants one of the faults when it compiles.
PLANTING = """
from _planted import plant
from edgepress.backends.onnxruntime import OnnxRuntime


class Planting(OnnxRuntime):
    name = "planting"

    def _compile(self, graph, target, directory, precision):
        engine = super()._compile(graph, target, directory, precision)
        if precision == target.options["precision"]:
            plant(target.options["fault"], engine.path)
        return engine
"""
TARGET = """
name = "planting"
title = "A runtime that computes wrongly"
arch = "any"
backend = "planting"
precisions = ["int8", "fp32"]
scheme = "onnxruntime-x86"
toolchain = "onnxruntime-1.31"

[options]
fault = "{fault}"
precision = "{precision}"
"""
# Values inside reach a million.
WIDE = SMALL.replace(
    "return nn.Sequential(nn.Conv2d(1, 4, 3),",
    "first = nn.Conv2d(1, 4, 3)\n    first.weight.data.mul_(1e6)\n    return nn.Sequential(first,",
)
CASES = [
    ("wrong_fusion", "int8"),
    pytest.param("another_graph", "int8", marks=pytest.mark.slow),
    ("one_weight", "int8"),
    pytest.param("one_weight", "fp32", marks=pytest.mark.slow),
    pytest.param("clamp", "fp32", marks=pytest.mark.slow),
]


@pytest.fixture
def planting(cli: Cli, tmp_path: Path) -> Callable[..., Ran]:
    """Export to the runtime that plants a fault."""
    site = tmp_path / "site"
    (site / "planting-1.0.dist-info").mkdir(parents=True)
    (site / "planting.py").write_text(PLANTING)
    (site / "planting-1.0.dist-info" / "METADATA").write_text("Metadata-Version: 2.1\nName: planting\nVersion: 1.0\n")
    (site / "planting-1.0.dist-info" / "entry_points.txt").write_text(
        "[edgepress.backends]\nplanting = planting:Planting\n"
    )
    path = os.pathsep.join([str(site), str(Path(__file__).parent), os.environ.get("PYTHONPATH", "")])

    def export(fault: str, precision: str) -> Ran:
        (tmp_path / "net.py").write_text(WIDE if fault == "clamp" else SMALL)
        (tmp_path / "planting.toml").write_text(TARGET.format(fault=fault, precision=precision))
        words = ("net.py", "-t", "planting.toml", "--precision", precision, "--no-measure", "-q")
        return cli("export", *words, env={"PYTHONPATH": path})

    return export


@pytest.mark.parametrize(("fault", "precision"), CASES)
def test_the_export_does_not_ship_it(planting: Callable[..., Ran], tmp_path: Path, fault: str, precision: str) -> None:
    planting(fault, precision).failed(4, "engine does not", "dB", "output 'output'")
    assert not (tmp_path / "dist").exists()


@pytest.fixture(scope="module")
def honest(forked: Cli, tmp_path_factory: pytest.TempPathFactory) -> Callable[[str, str], Path]:
    """A bundle of a model in a precision."""
    made: dict[tuple[str, str], Path] = {}

    def export(model: str, precision: str) -> Path:
        if (model, precision) not in made:
            directory = tmp_path_factory.mktemp("honest")
            (directory / "net.py").write_text(model)
            words = ("net.py", "-t", "server-cpu", "--precision", precision, "--no-measure", "-q")
            ran = forked("export", *words, cwd=directory, temporary=tmp_path_factory.mktemp("temporary"))
            assert ran.code == 0, ran.err
            made[model, precision] = directory / "dist" / "net-server-cpu"
        return made[model, precision]

    return export


@pytest.mark.parametrize(("fault", "precision"), CASES)
def test_verify_catches_an_engine_put_in_its_place_with_its_hash(
    honest: Callable[[str, str], Path], cli: Cli, tmp_path: Path, fault: str, precision: str
) -> None:
    bundle = honest(WIDE if fault == "clamp" else SMALL, precision)
    assert cli("verify", bundle).code == 0
    tampered = Path(shutil.copytree(bundle, tmp_path / "tampered"))
    plant(fault, tampered / "engine" / "model.onnx")
    renew(tampered, "engine/model.onnx")
    cli("verify", tampered).failed(4, "The engine does not", "'output'")


def test_where_clipping_takes_int8_far_from_fp32_the_graph_still_tells(cli: Cli, tmp_path: Path) -> None:
    """Golden inputs lie far outside of what was calibrated, so that a bound against FP32 lets almost everything by."""
    (tmp_path / "net.py").write_text(SMALL.replace("random((4, 1, 8, 8), dtype=np.float32)",
                                                   "random((4, 1, 8, 8), dtype=np.float32) * 0.3"))  # fmt: skip
    assert cli("export", "net.py", "-t", "server-cpu", "--precision", "int8", "--no-measure", "-q").code == 0
    bundle = tmp_path / "dist" / "net-server-cpu"
    manifest = read(bundle, "manifest.json")
    assert manifest["minimum_sqnr_db"] < 10 < manifest["minimum_graph_db"]
    assert cli("verify", bundle).code == 0
    plant("wrong_scale", bundle / "engine" / "model.onnx")
    renew(bundle, "engine/model.onnx")
    cli("verify", bundle).failed(4, "does not compute what model.onnx does", "'output'")
    assert cli("build", bundle).code == 0  # from the sound graph
    assert cli("verify", bundle).code == 0
    assert read(bundle, "manifest.json")["minimum_graph_db"] == manifest["minimum_graph_db"]
    plant("wrong_scale", bundle / "model.onnx")
    renew(bundle, "model.onnx")
    cli("build", bundle).failed(4, "does not compute what model.onnx does", "'output'")


def renew(bundle: Path, name: str) -> None:
    """Enter the file's hash, and that of the engine where its lineage ends."""
    manifest = read(bundle, "manifest.json")
    entry = file_entry(bundle / name)
    manifest["files"][name] = {"sha256": entry.sha256, "size": entry.size}
    ends = {step["what"]: step for step in manifest["lineage"]}
    ends["compile"]["after"] = engine_digest(hash_files(bundle)[0])
    (bundle / "manifest.json").write_text(json.dumps(manifest))
