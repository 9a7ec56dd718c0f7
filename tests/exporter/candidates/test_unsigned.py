"""What stands in for an engine of signed integers computes the same to the bit, or does not stand in."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import edgepress
from edgepress.backends.base import Array, AxisRange, Engine, Feed
from edgepress.backends.places import Local
from edgepress.calibration.collect import collect
from edgepress.exporter.bundle.reportables import load_report
from edgepress.exporter.candidates.third_link.unsigned import products_in_unsigned, unsigned_twin
from edgepress.exporter.capture.capture import capture
from edgepress.exporter.graphs.files import read_graph, read_model
from edgepress.exporter.quantization.quantizer import Quantizer
from edgepress.exporter.sources import source_from_object
from edgepress.profiles.device.target import load_target
from edgepress.profiles.machine.environment import VNNI, this_machine

pytestmark = pytest.mark.skipif(
    not VNNI.intersection(this_machine().isa), reason="without VNNI nothing stands in for an engine"
)
AXES = {"batch": AxisRange(smallest=1, usual=2, largest=32)}


def network():
    """Products of every kind, and what rounds between them: sums, products, means, joined and shared scales."""
    import torch
    from torch import nn

    class Mixed(nn.Module):
        def __init__(self):
            super().__init__()
            self.stem = nn.Sequential(nn.Conv2d(3, 16, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2))
            self.depth = nn.Conv2d(16, 16, 3, padding=1, groups=16)
            self.wide = nn.Sequential(nn.Conv2d(16, 16, 5, padding=2, dilation=1), nn.LeakyReLU(0.1))
            self.join, self.rows, self.head = nn.Conv2d(32, 16, 1), nn.Linear(8, 8), nn.Linear(16, 5)

        def forward(self, image):
            x = self.stem(image)
            x = torch.relu(self.depth(x) + x)
            x = self.join(torch.cat([x, self.wide(x)], 1))
            x = self.rows(x) + x
            return self.head(torch.relu(x).mean((2, 3)))

    torch.manual_seed(0)
    rng = np.random.default_rng(0)
    batches = [{"image": rng.normal(size=(4, 3, 16, 16)).astype(np.float32)} for _ in range(4)]
    return source_from_object(
        Mixed().eval(),
        {"image": torch.randn(2, 3, 16, 16)},
        name="mixed",
        dynamic={"image": {0: "batch"}},
        calibration=lambda: iter(batches),
    )


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Engine:
    """An .ort file of signed integers, for ARM."""
    directory, target, source = tmp_path_factory.mktemp("signed"), load_target("mobile"), network()
    graph = capture(source, target.opset, directory / "captured.onnx", AXES)
    quantizer = Quantizer.of(graph, target.scheme)
    statistics = collect(graph, quantizer.placement.observed(), source.calibration)
    quantizer.write(statistics, directory / "model.onnx")
    (directory / "engine").mkdir()
    signed = read_graph(directory / "model.onnx", AXES)
    return Local().compile(signed, target, directory / "engine", "int8")


def feeds(seed: int) -> list[Feed]:
    """Of several sizes, the last far beyond what the ranges hold."""
    rng = np.random.default_rng(seed)
    sizes = ((1, 1.0), (3, 1.0), (2, 20.0))
    return [{"image": (scale * rng.normal(size=(n, 3, 16, 16))).astype(np.float32)} for n, scale in sizes]


def answers(engine: Engine, given: list[Feed]) -> tuple[dict[str, Array], ...]:
    with Local().open(engine) as session:
        return tuple(session(feed) for feed in given)


def test_it_gives_the_same_bits_on_inputs_that_nobody_compared(engine: Engine, tmp_path: Path) -> None:
    seen, others = feeds(1), feeds(2)
    twin = unsigned_twin(engine, Local(), seen, answers(engine, seen), tmp_path, 1)
    assert twin is not None
    with twin:
        for feed, expected in zip(others, answers(engine, others), strict=True):
            found = twin(feed)
            assert found.keys() == expected.keys()
            assert all(found[name].tobytes() == array.tobytes() for name, array in expected.items())
    shifted = read_model(tmp_path / "shifted.onnx")
    products = [node for node in shifted.graph if node.op_type in ("QLinearConv", "QGemm", "QLinearMatMul")]
    assert len(products) >= 5
    assert not products_in_unsigned(shifted), "none of signed integers is left"


def test_one_that_gives_another_bit_does_not_stand_in(engine: Engine, tmp_path: Path) -> None:
    seen = feeds(1)
    given = [{name: array.copy() for name, array in one.items()} for one in answers(engine, seen)]
    (name,) = given[-1]
    given[-1][name].flat[-1] = np.nextafter(given[-1][name].flat[-1], np.float32(np.inf))
    assert unsigned_twin(engine, Local(), seen, tuple(given), tmp_path, 1) is None


def test_an_engine_for_this_processor_answers_itself(engine: Engine, tmp_path: Path) -> None:
    mine = replace(engine, target=replace(engine.target, arch=this_machine().arch))
    assert unsigned_twin(mine, Local(), [], (), tmp_path, 1) is None


def test_the_report_says_in_what_form_an_engine_for_arm_was_judged_and_has_the_engine_s_own_metric(
    tmp_path: Path,
) -> None:
    def evaluate(predict: Callable[[Feed], dict[str, Array]]) -> float:
        return float(sum(np.abs(array).sum(dtype=np.float64) for feed in feeds(3) for array in predict(feed).values()))

    source = network()
    bundle = edgepress.export(
        source.module, {"image": source.inputs["image"]}, target="mobile", name="mixed", precision="int8",
        dynamic=source.dynamic, calibration=source.calibration, evaluate=evaluate, measure=False, output=tmp_path,
    )  # fmt: skip
    report, model = load_report(bundle.path), bundle.manifest.model
    claims = [one.claim for one in report.evidence]
    assert any("as unsigned ones, which give the same to the bit" in claim for claim in claims), claims
    engine = Engine(
        path=bundle.path / "engine" / "model.ort",
        backend="onnxruntime",
        target=bundle.manifest.target,
        precision="int8",
        inputs=model.inputs,
        outputs=model.outputs,
    )
    with Local().open(engine) as session:
        assert report.task is not None
        assert report.task.after == evaluate(session)
