"""The packages in plugins/, installed as a user installs them: edgepress knows their backends and targets by name."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]
EDGEPRESS = Path(sys.executable).with_name("edgepress")
needs_ncnn = pytest.mark.skipif(
    not (find_spec("ncnn") and find_spec("pnnx")), reason="ncnn and pnnx are not installed: pip install ncnn pnnx"
)


@pytest.fixture(scope="module")
def environment(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """One in which they are installed, from wheels of copies, so that nothing is written into the repository."""
    site = tmp_path_factory.mktemp("site")
    for plugin in sorted((ROOT / "plugins").iterdir()):
        source, out = tmp_path_factory.mktemp("source") / plugin.name, tmp_path_factory.mktemp("wheel")
        shutil.copytree(plugin, source, ignore=shutil.ignore_patterns("build", "*.egg-info", "__pycache__"))
        done([sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", out, source])
        (wheel,) = out.glob("*.whl")
        done([sys.executable, "-m", "pip", "install", "--no-index", "--no-deps", "--quiet", "--target", site, wheel])
    path = os.pathsep.join(filter(None, (str(site), os.environ.get("PYTHONPATH", ""))))
    return {**os.environ, "PYTHONPATH": path, "OMP_NUM_THREADS": "1", "COLUMNS": "200", "NO_COLOR": "1"}


def done(words: list[Any], **options: Any) -> str:
    ran = subprocess.run([str(w) for w in words], capture_output=True, text=True, timeout=1500, check=False, **options)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    return ran.stdout


@pytest.fixture
def edgepress(environment: dict[str, str], tmp_path: Path) -> Any:
    return lambda *words: done([EDGEPRESS, *words], env=environment, cwd=tmp_path)


def conformance(environment: dict[str, str], backend: str) -> str:
    """The suite over one backend; at least one test of it ran."""
    suite = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider"]
    words = [*suite, "-k", backend, ROOT / "tests/conformance/test_backends.py"]
    said = done(words, env=environment, cwd=ROOT).splitlines()[-1]
    assert int(said.split(" passed")[0].split()[-1]) >= 25, said
    return said


def test_the_example_for_authors_passes_conformance(environment: dict[str, str]) -> None:
    assert "skipped" not in conformance(environment, "onnx-reference")


@pytest.mark.slow
def test_a_small_model_is_exported_for_it_by_name(edgepress: Any, examples: Path, tmp_path: Path) -> None:
    from ..flows._flow import SMALL

    (tmp_path / "small.py").write_text(SMALL)
    targets = ["onnx-reference", *(["ncnn-cpu"] if find_spec("ncnn") and find_spec("pnnx") else [])]
    edgepress("export", "small.py", "-t", ",".join(targets), "-o", ".", "--no-measure", "-q")
    for target in targets:
        bundle = tmp_path / f"small-{target}"
        assert json.loads(edgepress("verify", bundle, "--json"))["parity"]["output"]["sqnr_db"] > 100
        assert target in edgepress("targets")


@needs_ncnn
@pytest.mark.slow
def test_ncnn_passes_conformance_in_float(environment: dict[str, str]) -> None:
    assert "skipped" not in conformance(environment, "ncnn")


@needs_ncnn
@pytest.mark.slow
def test_every_command_takes_a_bundle_of_ncnn(edgepress: Any, examples: Path, tmp_path: Path) -> None:
    edgepress("export", examples / "digits.py", "-t", "ncnn-cpu,server-cpu", "-o", ".", "-q")
    bundle = "digits-ncnn-cpu"
    manifest = json.loads((tmp_path / bundle / "manifest.json").read_text())
    assert (manifest["engine"]["backend"], manifest["engine"]["precision"]) == ("ncnn", "fp32")
    assert set(manifest["files"]) > {"engine/model.param", "engine/model.bin", "engine/model.json"}
    report = json.loads((tmp_path / bundle / "report.json").read_text())
    assert report["latency"]["engine"]["p50"] > 0
    assert {layer["operator"] for layer in report["layers"]} >= {"Convolution", "InnerProduct"}
    edgepress("verify", bundle)
    edgepress("profile", bundle, "--scenario", "single-stream", "-o", "profile.json")
    assert "digits-server-cpu" in edgepress("compare", "digits-server-cpu", bundle, "--seconds", "2")
    edgepress("report", bundle, "digits-server-cpu", "-o", "page.html")
    edgepress("check", bundle, "--budget", "size=3MB")
    edgepress("pack", bundle, "digits-server-cpu", "-o", "digits.edgepress")
    assert "digits-ncnn-cpu is version 1" in edgepress("install", "digits.edgepress", "--to", "device")
    assert "ncnn 1." in edgepress("doctor")


@needs_ncnn
@pytest.mark.slow
def test_what_ncnn_has_no_form_for_is_refused_by_name(environment: dict[str, str], tmp_path: Path) -> None:
    """int8 as Q/DQ, of which pnnx makes layers that ncnn does not have; and axes that it cannot leave free."""
    code = """
import sys
from dataclasses import replace
from pathlib import Path
sys.path.insert(0, sys.argv[1])
from conformance._cases import SCHEMES, Case
from conformance._graphs import convolutions, products, quantized
from edgepress.backends.registry import load_backend

backend, target = load_backend("ncnn"), Case(backend="ncnn", precision="fp32").target
plain = convolutions(Path("plain.onnx"))
for graph in (
    quantized(plain, SCHEMES["onnxruntime-x86"], Path("int8.onnx")),
    replace(plain, inputs=(replace(plain.inputs[0], shape=("batch", 3, "height", 10)),)),
    replace(plain, inputs=(replace(plain.inputs[0], shape=(2, 3, 10, 10)),)),
    replace(plain, inputs=(replace(plain.inputs[0], dtype="int64"),)),
):
    print(backend.check(graph, target)[0])
"""
    said = done([sys.executable, "-c", code, ROOT / "tests"], env=environment, cwd=tmp_path).splitlines()
    assert "ncnn has no layer" in said[0]
    assert said[1:] == [
        "image: its axis height is free; only that of the samples can be",
        "image: its first axis is fixed at 2, and ncnn runs one sample: let it be free, or 1",
        "image: its values are int64, and ncnn is given float32 here",
    ]
