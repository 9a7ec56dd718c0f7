"""Every example for every target; what this machine can run is verified, what it cannot says so."""

from __future__ import annotations

import stat
import subprocess
from pathlib import Path

import numpy as np
import pytest

from ._flow import TARGETS, Cli, Exported, read

SMALL_EXAMPLES = ("digits", "mobilenet")
LARGE_EXAMPLES = (
    "classics/mlp",
    "classics/cnn28",
    "classics/convnet",
    "classics/cifar",
    "classics/text_mlp",
    "classics/distilbert",
    "minilm",
)
EXAMPLES = [*SMALL_EXAMPLES, *(pytest.param(name, marks=pytest.mark.slow) for name in LARGE_EXAMPLES)]
HERE = ("cpu", "server-cpu", "mobile", "rpi5")  # what an x86-64 machine without a GPU runs
# Accuracy that int8 may cost. The held-out set has 500 images, so that one image is 0.002.
LOSS = {"digits": 0.005, "mobilenet": 0.02}


@pytest.mark.parametrize("example", EXAMPLES)
def test_every_target_gets_a_whole_bundle(exported: Exported, example: str) -> None:
    for typed, bundle in exported(example).items():
        manifest, report = read(bundle, "manifest.json"), read(bundle)
        assert manifest["target"]["name"] == TARGETS[typed]
        assert report["precision"] == manifest["engine"]["precision"] == "int8"
        assert {"model.onnx", "golden/inputs.npz", "golden/outputs.npz"} <= manifest["files"].keys()
        assert [gap for gap in report["missing"] if gap["about"] == "latency"]  # --no-measure is said, not passed over
        assert [p.name for p in bundle.parent.iterdir() if p.name.startswith(".")] == []


@pytest.mark.parametrize("target", HERE)
@pytest.mark.parametrize("example", EXAMPLES)
def test_what_runs_here_verifies(exported: Exported, cli: Cli, example: str, target: str) -> None:
    ran = cli("verify", exported(example)[target])
    assert ran.code == 0, ran.err
    assert "files intact; golden outputs reproduced by" in ran.out
    assert ("not on its device" in ran.out) == (target in ("mobile", "rpi5"))


@pytest.mark.parametrize("example", EXAMPLES)
def test_what_needs_a_gpu_says_so(exported: Exported, cli: Cli, example: str) -> None:
    bundles = exported(example)
    cli("verify", bundles["rtx"]).failed(5, "files are intact", "tensorrt-rtx cannot run on this machine", "NVIDIA GPU")
    cli("verify", bundles["jetson"]).failed(5, "files are intact", "not built here, because", "edgepress build")


@pytest.mark.parametrize("target", ["cpu", "server-cpu", "mobile"])
@pytest.mark.parametrize("example", ["digits", "mobilenet"])
def test_every_layer_runs_in_int8(exported: Exported, example: str, target: str) -> None:
    coverage = read(exported(example)[target])["coverage"]
    assert coverage["left"] == []
    assert coverage["integer"] == coverage["total"] >= 14


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("example", LOSS)
def test_accuracy_survives(exported: Exported, example: str, target: str) -> None:
    task = read(exported(example)[target])["task"]
    assert task["before"] > 0.97
    assert task["before"] - task["after"] <= LOSS[example]


def test_a_jetson_bundle_can_be_finished_on_the_device_and_says_what_nobody_did(digits: dict[str, Path]) -> None:
    bundle = digits["jetson"]
    script = bundle / "engine" / "build.sh"
    assert script.stat().st_mode & stat.S_IXUSR
    subprocess.run(["bash", "-n", script], check=True)
    assert "--onnx=../model.onnx" in script.read_text()
    manifest = read(bundle, "manifest.json")
    assert manifest["engine"]["path"] is None
    evidence = {
        e["kind"]: e for e in manifest["measured"]["evidence"] if "parser" in e["claim"] or e["kind"] == "absent"
    }
    assert "not built here, because" in evidence["absent"]["claim"]
    assert "parser of tensorrt-rtx accepts model.onnx" in evidence["emulated"]["claim"]
    assert not any(e["kind"] in ("built", "measured") for e in manifest["measured"]["evidence"])
    assert "not built here, because" in (bundle / "report.md").read_text()


def test_an_rtx_plan_serves_every_generation(digits: dict[str, Path]) -> None:
    report = read(digits["rtx"])
    assert any("compute capability 8.0, 8.6, 8.9, 12.0" in note for note in report["notes"])
    assert (digits["rtx"] / "engine" / "model.plan").stat().st_size > 100_000
    assert [e["kind"] for e in report["evidence"]] == ["emulated", "built", "emulated"]


@pytest.mark.slow
def test_int8_sentence_embeddings_point_where_the_models_do(exported: Exported, examples: Path) -> None:
    import torch

    import edgepress
    from edgepress.backends.registry import load_backend
    from edgepress.exporter.sources import load_source, torch_predict

    source = load_source(str(examples / "minilm.py"))
    bundle = edgepress.load_bundle(exported("minilm")["cpu"])
    assert bundle.engine is not None
    batches: list[dict[str, np.ndarray]] = []

    def collect(feed: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        batches.append(feed)
        return {"embedding": np.random.default_rng(0).normal(size=(len(feed["input_ids"]), 384))}

    assert source.evaluate is not None
    source.evaluate(collect)  # hands over the 400 sentences that calibration never saw
    expected = torch_predict(source, torch.get_num_threads())
    cosines = []
    with load_backend(bundle.engine.backend).open(bundle.engine) as session:
        for feed in batches:
            a, b = next(iter(session(feed).values())), next(iter(expected(feed).values()))
            cosines.append((a * b).sum(1) / np.linalg.norm(a, axis=1) / np.linalg.norm(b, axis=1))
    found = np.concatenate(cosines)
    assert len(found) == 400
    assert found.mean() >= 0.97
