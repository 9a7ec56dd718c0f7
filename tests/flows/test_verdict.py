"""The verdict: what is shipped is the fastest precision that keeps the accuracy, measured where the engine runs."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import edgepress
from edgepress.exporter.bundle.seal import load_report
from edgepress.profiles.timing import in_turn as timing
from edgepress.profiles.timing import taking_turns
from edgepress.profiles.timing.measure import Settings

from ._flow import Cli, read

# Of what stands beside the engines, and decides nothing.
BRIEF = Settings(warmup_seconds=0.1, warmup_count=5, seconds=0.6, samples=50, slice_seconds=0.05, cap=1.0)
WARM = Settings(warmup_seconds=0.05, warmup_count=5, cap=1.0)
Exporter = Callable[..., edgepress.Bundle]


@pytest.fixture(autouse=True)
def short(monkeypatch: pytest.MonkeyPatch) -> None:
    """Real turns in fresh processes, but no more of them than there must be."""
    monkeypatch.setattr(timing, "SECONDS", 1.0)
    monkeypatch.setattr(taking_turns, "_LEAST_SET", 0.2)
    monkeypatch.setattr(taking_turns, "_WARM", WARM)
    monkeypatch.setattr(timing, "BESIDE", BRIEF)


def target(path: Path, scheme: str, precisions: tuple[str, ...] = ("int8", "fp32"), **more: str) -> edgepress.Target:
    """A target of our own on onnxruntime."""
    fields = {
        "name": path.stem,
        "title": "Of a test",
        "arch": "any",
        "backend": "onnxruntime",
        "scheme": scheme,
        **more,
    }
    lines = [f"{name} = {json.dumps(value)}" for name, value in fields.items()]
    lines += [f"precisions = {json.dumps(precisions)}", 'toolchain = "onnxruntime-1.31"']
    path.write_text("\n".join(lines) + "\n")
    return edgepress.load_target(str(path))


class Wide(nn.Module):
    """Convolutions that are worth eight bits, where they are as wide as by default."""

    def __init__(self, width: int = 64) -> None:
        super().__init__()
        torch.manual_seed(0)
        layers = [nn.Conv2d(3, width, 3, padding=1), nn.ReLU()]
        for _ in range(3):
            layers += [nn.Conv2d(width, width, 3, padding=1), nn.ReLU()]
        self.layers = nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(width, 4))

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        scores: torch.Tensor = self.layers(image)
        return scores


BATCHES = [{"image": np.random.default_rng(i).normal(size=(4, 3, 24, 24)).astype(np.float32)} for i in range(4)]


@pytest.fixture
def export(tmp_path: Path) -> Exporter:
    def run(chosen: edgepress.Target, model: nn.Module | None = None, **more: Any) -> edgepress.Bundle:
        options: dict[str, Any] = {
            "inputs": {"image": torch.randn(2, 3, 24, 24)},
            "dynamic": {"image": {0: "batch"}},
            "calibration": BATCHES,
            "output": tmp_path / "out",
        }
        return edgepress.export(model or Wide(), target=chosen, **{**options, **more})

    return run


@pytest.fixture
def slow_int8(tmp_path: Path) -> edgepress.Target:
    """TensorRT's int8 on onnxruntime, which has no integer kernels for it: rounding comes on top of float layers."""
    return target(tmp_path / "slow.toml", "tensorrt")


def contenders(bundle: edgepress.Bundle) -> Mapping[str, Mapping[str, Any]]:
    return {one["precision"]: one for one in read(bundle.path)["choice"]["contenders"]}


def test_int8_that_is_slower_ends_in_an_fp32_bundle_that_says_so(
    export: Exporter, slow_int8: edgepress.Target, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(timing, "SECONDS", 8.0)  # a third less has to be told from none beside other tests
    bundle = export(slow_int8)
    assert bundle.manifest.engine.precision == "fp32"
    assert "int8" in contenders(bundle)
    report = load_report(bundle.path)
    assert report.choice is not None
    assert report.choice.measured and not report.choice.forced
    assert report.choice.shipped == report.precision == "fp32"
    (int8,) = [one for one in report.choice.contenders if one.precision == "int8"]
    assert int8.faster is not None and int8.faster.value < 0.9
    assert "int8 is slower" in report.choice.because
    assert "--precision int8 ships it" in report.choice.because
    assert report.why_no("precision").startswith("int8 was not shipped")
    shown = bundle.report.read_text()
    assert "fp32 is shipped" in shown and "int8 was not shipped" in shown
    # It is an FP32 bundle throughout: nothing of int8 is left, and it verifies.
    assert report.sizes.weights == report.sizes.weights_fp32
    assert report.coverage is None and not any("Calibrated" in note for note in report.notes)
    assert {"engine", "int8", "torch"} == report.latency.keys()
    assert not any("QuantizeLinear" in name for name in nodes(bundle))
    assert edgepress.verify_bundle(bundle.path).parity["output"].sqnr_db > 60


def nodes(bundle: edgepress.Bundle) -> list[str]:
    import onnx

    return [node.op_type for node in onnx.load(bundle.path / "model.onnx").graph.node]


@pytest.mark.slow
def test_int8_that_was_asked_for_is_shipped_with_a_warning(export: Exporter, slow_int8: edgepress.Target) -> None:
    bundle = export(slow_int8, precision="int8")
    report = load_report(bundle.path)
    assert report.precision == "int8" and "QuantizeLinear" in nodes(bundle)
    assert report.choice is not None and report.choice.forced
    assert "int8 was asked for; int8 is slower" in report.why_no("speed")
    assert report.faster is not None and report.faster.value < 0.9


@pytest.mark.slow
def test_int8_that_is_faster_is_shipped(export: Exporter, tmp_path: Path) -> None:
    bundle = export(target(tmp_path / "fast.toml", "onnxruntime-x86", ("int8", "fp16", "fp32")))
    report = load_report(bundle.path)
    assert report.precision == "int8", report.choice
    assert report.choice is not None and report.choice.measured
    assert [one.precision for one in report.choice.contenders] == ["fp32", "fp16", "int8"]
    assert all(one.p50 for one in report.choice.contenders)
    assert not {"precision", "speed"} & {gap.about for gap in report.missing}
    assert report.coverage is not None and report.coverage.integer == 5
    assert {"engine", "fp32", "fp16", "torch"} == report.latency.keys()
    assert bundle.fallback is None


def test_int8_that_loses_too_much_is_not_shipped(export: Exporter, tmp_path: Path) -> None:
    chosen = target(tmp_path / "exact.toml", "onnxruntime-x86")
    bundle = export(chosen, model=Wide(8), minimum_sqnr_db=100.0, measure=False)
    report = load_report(bundle.path)
    assert report.precision == "fp32"
    assert report.choice is not None
    assert "int8 is out: int8 collapses" in report.choice.because
    with pytest.raises(edgepress.VerificationError, match="100 dB needed"):
        export(chosen, model=Wide(8), minimum_sqnr_db=100.0, precision="int8", force=True)


def test_a_drop_that_int8_cannot_keep_ends_in_float(export: Exporter, tmp_path: Path) -> None:
    reference = [Wide().eval()(torch.from_numpy(batch["image"])).detach().numpy() for batch in BATCHES]

    def evaluate(predict: Any) -> float:
        noise = [
            np.abs(predict(b)["output"] - r).max() / np.abs(r).max() for b, r in zip(BATCHES, reference, strict=True)
        ]
        return 1 - float(np.mean(noise))

    chosen = target(tmp_path / "kept.toml", "onnxruntime-x86")
    bundle = export(chosen, evaluate=evaluate, max_drop=0.0001, measure=False)
    report = load_report(bundle.path)
    assert report.precision == "fp32"
    assert report.choice is not None and not report.choice.measured
    assert "beyond the drop of 0.0001" in report.choice.because
    assert report.sensitivity is not None and 1 < len(report.sensitivity.trials) <= 8
    assert report.task is not None and report.task.after == pytest.approx(1, abs=1e-4)
    assert [verdict.status for verdict in report.budget] == ["met"]


def test_a_model_without_layers_for_int8_is_shipped_in_float(export: Exporter, tmp_path: Path) -> None:
    chosen = target(tmp_path / "plain.toml", "onnxruntime-x86")
    bundle = export(chosen, model=nn.ReLU(), measure=False)
    report = load_report(bundle.path)
    assert report.precision == "fp32"
    assert "can be int8" in report.why_no("precision")
    with pytest.raises(edgepress.InputError, match="can be int8"):
        export(chosen, model=nn.ReLU(), precision="int8", force=True)


def test_the_targets_data_decide_where_nothing_is_measured(export: Exporter, tmp_path: Path) -> None:
    path = tmp_path / "told.toml"
    target(path, "onnxruntime-x86")
    mark = 'fastest = { value = "fp32", mark = "unverified", source = "it is said" }\n'
    path.write_text(path.read_text() + mark)
    report = load_report(export(edgepress.load_target(str(path)), measure=False).path)
    assert report.precision == "fp32"
    assert report.choice is not None and not report.choice.measured
    assert "fp32 by the data of target told (unverified: it is said)" in report.choice.because


# Targets that are not here


def test_a_float_graph_goes_along_to_a_device_that_is_to_choose(cli: Cli, small: Path, tmp_path: Path) -> None:
    assert cli("export", small, "-t", "jetson,rpi5", "--no-measure").code == 0
    for name, precision in (("jetson-orin-nano-8gb", "fp16"), ("rpi5", "fp32")):
        bundle = tmp_path / "dist" / f"small-{name}"
        manifest, report = read(bundle, "manifest.json"), read(bundle)
        assert manifest["engine"]["precision"] == "int8"
        assert manifest["fallback"]["precision"] == precision
        assert "fallback/model.onnx" in manifest["files"]
        assert report["choice"]["measured"] is False
        assert "Not measured, because" in report["choice"]["because"]
        assert cli("verify", bundle).code in (0, 5)
    forced = cli("export", small, "-t", "jetson,rpi5", "--no-measure", "--precision", "int8", "--force")
    assert forced.code == 0
    assert not list(tmp_path.glob("dist/*/fallback"))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("scheme", "winner"), [pytest.param("tensorrt", "fp32", marks=pytest.mark.slow), ("onnxruntime-x86", "int8")]
)
def test_build_on_the_device_repeats_the_verdict_with_measurements(
    export: Exporter, tmp_path: Path, scheme: str, winner: str
) -> None:
    elsewhere = target(tmp_path / "board.toml", scheme, arch="aarch64")
    bundle = export(elsewhere)
    graphs = {"int8": bundle.path / "model.onnx", "fp32": bundle.path / "fallback" / "model.onnx"}
    content = {precision: path.read_bytes() for precision, path in graphs.items()}
    manifest = read(bundle.path, "manifest.json")
    assert manifest["engine"]["precision"] == "int8"
    manifest["target"]["arch"] = "any"  # as if this machine were the board
    (bundle.path / "manifest.json").write_text(json.dumps(manifest))

    built = edgepress.build_bundle(bundle.path)
    assert built.manifest.engine.precision == winner
    assert (built.path / "model.onnx").read_bytes() == content[winner]
    assert not (built.path / "fallback").exists() and built.manifest.fallback is None
    report = load_report(built.path)
    assert report.precision == winner
    assert report.choice is not None and report.choice.measured and report.choice.shipped == winner
    assert {one.precision for one in report.choice.contenders if one.p50} == {"int8", "fp32"}
    assert ("int8 was not kept" in report.why_no("precision")) == (winner == "fp32")
    assert edgepress.verify_bundle(built.path).parity["output"].sqnr_db > (60 if winner == "fp32" else 10)
    # Built once more, there is nothing left to choose.
    assert edgepress.build_bundle(built.path).manifest.engine.precision == winner
