"""`edgepress build`: what only the device can do, done there, and the bundle whole before and after."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from ._flow import Cli, contents, read

WITHOUT = """
import importlib.abc, sys

class Absent(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] == {module!r}:
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)

sys.meta_path.insert(0, Absent())
from edgepress.exporter.cli import main
main()
"""


@pytest.mark.parametrize(
    ("target", "module", "extra"),
    [("rtx", "tensorrt_rtx", "edgepress[rtx]"), ("cpu", "openvino", "edgepress[openvino]")],
)
def test_a_runtime_that_is_not_installed_is_named_with_its_extra(
    small: Path, environment: dict[str, str], target: str, module: str, extra: str
) -> None:
    """Both compile on any host, so that a bundle to be finished elsewhere would only put the installation off."""
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT.format(module=module), "export", small.name, "-t", target, "--no-measure"],
        cwd=small.parent,
        env=environment,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 5, done.stderr
    assert "cannot compile on this machine" in done.stderr
    assert extra in done.stderr
    assert not (small.parent / "dist").exists()


def test_a_jetson_bundle_stays_as_it_is_where_tensorrt_is_missing(
    digits: dict[str, Path], cli: Cli, tmp_path: Path
) -> None:
    bundle = Path(shutil.copytree(digits["jetson"], tmp_path / "bundle"))
    before = contents(bundle)
    cli("build", bundle).failed(5, "tensorrt cannot compile on this machine: TensorRT is not installed", "JetPack")
    assert contents(bundle) == before
    assert [p.name for p in tmp_path.iterdir()] == ["bundle"]


def test_a_damaged_bundle_is_not_built(digits: dict[str, Path], cli: Cli, tmp_path: Path) -> None:
    bundle = Path(shutil.copytree(digits["jetson"], tmp_path / "bundle"))
    (bundle / "model.onnx").write_bytes(b"")
    cli("build", bundle).failed(4, "model.onnx was changed")


def unbuilt(bundle: Path) -> Path:
    """Make of a bundle what an export gives whose machine could not compile: no engine, and the reason."""
    from edgepress.exporter.bundle.manifest import hash_files

    shutil.rmtree(bundle / "engine")
    (bundle / "engine").mkdir()
    (bundle / "engine" / "build.sh").write_text("#!/bin/sh\n")
    report = read(bundle)
    report["missing"] = {"engine": "The engine is not built here, because x.", "coverage": "x", "steady engine": "x"}
    report["evidence"] = [{"kind": "absent", "claim": "not built here, because x", "tool": "openvino", "machine": "m"}]
    report["coverage"], report["sizes"]["engine"] = None, None
    (bundle / "report.json").write_text(json.dumps(report))
    manifest = read(bundle, "manifest.json")
    manifest["engine"] |= {"path": None, "why": "not built here, because x"}
    files, measured = hash_files(bundle)
    for entries, found in ((manifest, files), (manifest["measured"], measured)):
        entries["files"] = {name: {"sha256": entry.sha256, "size": entry.size} for name, entry in found.items()}
    (bundle / "manifest.json").write_text(json.dumps(manifest))
    return bundle


@pytest.mark.slow
def test_a_bundle_is_finished_where_its_runtime_is(digits: dict[str, Path], cli: Cli, tmp_path: Path) -> None:
    """As on a device, from inside the bundle: built, proven and measured, as good as one made at once."""
    bundle = unbuilt(Path(shutil.copytree(digits["cpu"], tmp_path / "bundle")))
    cli("verify", bundle).failed(5, "not built here, because x", "edgepress build")
    ran = cli("build", ".", cwd=bundle)
    assert ran.code == 0, ran.err
    assert cli("verify", bundle).code == 0
    for name in ("model.xml", "model.bin"):
        assert (bundle / "engine" / name).read_bytes() == (digits["cpu"] / "engine" / name).read_bytes()
    assert not (bundle / "engine" / "build.sh").exists()
    report, manifest = read(bundle), read(bundle, "manifest.json")
    assert manifest["engine"] == read(digits["cpu"], "manifest.json")["engine"]
    assert report["missing"] == []
    assert [e["kind"] for e in report["evidence"]] == ["built", "measured"]
    assert report["coverage"]["left"] == []
    assert report["latency"]["engine"]["samples"] >= 200
    assert "latency.npz" in manifest["measured"]["files"]
    assert report["before"]["load"] is not None
    assert report["layers"][0]["microseconds"] is not None
    assert "Distribution of latencies" in (bundle / "report.html").read_text()
    assert [p.name for p in tmp_path.iterdir()] == ["bundle"]


def test_a_plan_that_cannot_run_here_is_built_again_and_says_so(
    digits: dict[str, Path], cli: Cli, tmp_path: Path
) -> None:
    bundle = Path(shutil.copytree(digits["rtx"], tmp_path / "bundle"))
    assert cli("build", bundle, "--json").code == 0
    report = read(bundle)
    assert ["not run" in gap["why"] for gap in report["missing"] if gap["about"] == "run"] == [True]
    assert [e["kind"] for e in report["evidence"]] == ["emulated", "emulated", "built"]
    cli("verify", bundle).failed(5, "files are intact")


def test_a_target_of_the_users_own(cli: Cli, small: Path, tmp_path: Path) -> None:
    (tmp_path / "kiosk.toml").write_text(
        'name = "kiosk"\ntitle = "The kiosk at the door"\narch = "any"\nbackend = "openvino"\n'
        'precisions = ["int8", "fp32"]\nscheme = "openvino"\ntoolchain = "openvino-2026.4"\n'
    )
    ran = cli("export", small, "-t", "kiosk.toml", "--no-measure", "--json")
    assert ran.code == 0, ran.err
    (bundle,) = json.loads(ran.out)["bundles"]
    assert bundle["path"] == "dist/small-kiosk"
    assert bundle["manifest"]["target"]["title"] == "The kiosk at the door"
    assert cli("verify", bundle["path"]).code == 0


def test_a_target_with_an_unknown_backend(cli: Cli, small: Path, tmp_path: Path) -> None:
    (tmp_path / "odd.toml").write_text(
        'name = "odd"\ntitle = "Odd"\narch = "any"\nbackend = "tflite"\nprecisions = ["fp32"]\n'
        'toolchain = "openvino-2026.4"\n'
    )
    cli("export", small, "-t", "odd.toml").failed(1, "Unknown backend 'tflite'", "openvino")
    assert not (tmp_path / "dist").exists()


def test_the_file_that_init_writes_exports(cli: Cli, tmp_path: Path) -> None:
    assert cli("init").code == 0
    cli("init").failed(1, "model.py exists")
    ran = cli("export", "model.py", "-t", "cpu", "--no-measure")
    assert ran.code == 0, ran.err
    assert "int8 coverage" in ran.out
    assert cli("verify", tmp_path / "dist" / "model-cpu").code == 0
