"""Quantization-aware training: the graph in torch is the graph, and what it learns is what the engine computes."""

from __future__ import annotations

from collections import Counter, OrderedDict, namedtuple
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch

import edgepress
from edgepress.backends.places import Reference
from edgepress.errors import InputError
from edgepress.exporter.bundle.reportables import load_report
from edgepress.exporter.capture.capture import capture
from edgepress.exporter.graphs.files import read_graph, write_model
from edgepress.exporter.pipeline import axis_ranges
from edgepress.exporter.quantization.aware.form import ResultForm
from edgepress.exporter.quantization.aware.learned import _form, learned
from edgepress.exporter.quantization.aware.network import OPERATORS, GraphModule, OperatorError, why_not_torch
from edgepress.exporter.quantization.gather import gather
from edgepress.exporter.quantization.quantizer import Quantizer
from edgepress.exporter.recipe import Recipe, TrainingSettings
from edgepress.exporter.sources import Source, source_from_object, torch_predict
from edgepress.exporter.workshop import Memo
from edgepress.profiles.findings.parity import parity, worst

from . import _trained as stripes


def source(**more: Any) -> Source:
    return source_from_object(
        stripes.trained_net(),
        {"image": torch.from_numpy(stripes.pictures(2, 0)[0])},
        dynamic={"image": {0: "n"}},
        calibration=stripes.calibration,
        evaluate=stripes.evaluate,
        training=stripes.training,
        loss=stripes.loss,
        **more,
    )


def answers(path: Path, feeds: list[dict[str, Any]]) -> list[dict[str, Any]]:
    with Reference().values(path) as values:
        return [values(feed) for feed in feeds]


def structure(path: Path) -> tuple[Counter[str], list[tuple[int, ...]]]:
    graph = onnx.load(path).graph
    return Counter(node.op_type for node in graph.node), sorted(tuple(i.dims) for i in graph.initializer)


def test_what_was_trained_is_what_the_graph_computes(tmp_path: Path) -> None:
    """The same Q/DQ graph with other numbers, which win back most of what the nearest integers lose."""
    given, target = source(), stripes.hard()
    graph = capture(given, target.opset, tmp_path / "model.onnx", axis_ranges(given, Recipe()))
    memo, recipe = Memo(directory=tmp_path), Recipe(training=TrainingSettings(epochs=3))
    placed = Quantizer.of(graph, target.scheme)
    statistics = gather(given, graph, placed, recipe, lambda samples: None, memo)
    Quantizer.of(graph, target.scheme).write(statistics, tmp_path / "nearest.onnx")
    found = learned(Quantizer.of(graph, target.scheme), statistics, given, recipe, lambda *_: None, tmp_path / "kept")
    Quantizer.of(graph, target.scheme, fitted=found.fitted).write(statistics, tmp_path / "trained.onnx")
    assert structure(tmp_path / "nearest.onnx") == structure(tmp_path / "trained.onnx")

    feeds = stripes.calibration()[:2]
    predict = torch_predict(source_from_object(found.module, {"image": torch.zeros(2, 1, 12, 12)}))
    trained = answers(tmp_path / "trained.onnx", feeds)
    assert worst(parity([predict(feed) for feed in feeds], trained)).weakest_db > 40
    before, after = (
        stripes.evaluate(lambda feed, path=path: answers(tmp_path / path, [feed])[0])
        for path in ("nearest.onnx", "trained.onnx")
    )
    meant = stripes.evaluate(torch_predict(given))
    assert found.run.before == pytest.approx(before, abs=2e-3)  # training starts from our ranges and placement
    assert after == pytest.approx(found.run.after, abs=2e-3)
    assert after - before > 0.5 * (meant - before)

    again = learned(Quantizer.of(graph, target.scheme), statistics, given, recipe, lambda *_: None, tmp_path / "kept")
    assert again.run == found.run  # a finished training is not repeated
    for name, weight in found.fitted.items():
        assert np.array_equal(weight.values, again.fitted[name].values)
        assert len(np.unique(weight.values / weight.scales.reshape(-1, *[1] * (weight.values.ndim - 1)))) <= 40


LONGER = [pytest.param(name, marks=pytest.mark.slow) for name in ("digits", "vit")]


@pytest.mark.parametrize("name", ["mobilenet", *LONGER])
def test_a_graph_in_torch_gives_what_it_gives(name: str, tmp_path: Path) -> None:
    """Float and rounded, of models that were not made for this; weights are as they come."""
    example = _example(name)
    given = source_from_object(example, {"image": torch.rand(4, 1, *_size(name))}, dynamic={"image": {0: "n"}})
    feed = {"image": np.random.default_rng(0).uniform(0, 1, (8, 1, *_size(name))).astype(np.float32)}
    graph = capture(given, 20, tmp_path / "model.onnx", axis_ranges(given, Recipe()))
    scheme = edgepress.load_target("server-cpu").scheme
    assert scheme is not None
    quantizer = Quantizer.of(graph, scheme, lifts=())
    calibrated = source_from_object(
        example, {"image": torch.rand(4, 1, *_size(name))}, dynamic={"image": {0: "n"}}, calibration=lambda: [feed] * 8
    )
    statistics = gather(calibrated, graph, quantizer, Recipe(), lambda samples: None, Memo(directory=tmp_path))
    quantizer.emit(statistics)
    module = GraphModule(quantizer.model.graph, ["image"])
    write_model(quantizer.model, tmp_path / "rounded.onnx")
    read_graph(tmp_path / "rounded.onnx", {})
    seen = {n: t.detach().numpy() for n, t in module(torch.from_numpy(feed["image"])).items()}
    assert worst(parity(answers(tmp_path / "rounded.onnx", [feed]), [seen])).weakest_db > 45


def _size(name: str) -> tuple[int, int]:
    return (32, 32) if name == "mobilenet" else (8, 8)


def _example(name: str) -> torch.nn.Module:
    """The network of an example, not trained."""
    import sys

    sys.path.insert(0, str(Path(edgepress.__file__).resolve().parent / "examples"))
    try:
        module = __import__(name)
    finally:
        sys.path.pop(0)
    kinds = {"digits": "ResNet", "mobilenet": "MobileNet", "vit": "VisionTransformer"}
    torch.manual_seed(0)
    return getattr(module, kinds[name])().eval()


def test_what_torch_has_no_form_of_is_named(tmp_path: Path) -> None:
    import onnx_ir as ir

    node = ir.node("Unheard", [ir.Value(name="x")], domain="com.example")
    graph = ir.Graph([], [], nodes=[node], opset_imports={"": 20})
    assert why_not_torch(graph) == "com.example.Unheard has no form in torch here"


def test_what_torch_refuses_is_named_and_a_fault_of_ours_stays_one(monkeypatch: pytest.MonkeyPatch) -> None:
    import onnx_ir as ir

    def wrapped(inputs: Any, attributes: Any) -> Any:
        raise KeyError("a name that we lost")

    x = ir.Value(name="x")
    pads = ir.Value(name="pads", const_value=ir.tensor(np.array([0, 1, 0, 1])))
    pad = ir.node("Pad", [x, pads], attributes={"mode": "wrap"}, name="around")
    graph = ir.Graph([x], pad.outputs, nodes=[pad], initializers=[pads], opset_imports={"": 20})
    module = GraphModule(graph, ["x"])
    with pytest.raises(OperatorError, match="Pad: a Pad that is called wrap"):
        module(torch.zeros(2, 4))
    monkeypatch.setitem(OPERATORS, "Pad", wrapped)
    with pytest.raises(KeyError, match="that we lost"):
        module(torch.zeros(2, 4))


class Scored(tuple):  # type: ignore[type-arg]
    """A result that is more than its tensors."""

    def __new__(cls, scores: torch.Tensor, mask: torch.Tensor) -> Scored:
        return super().__new__(cls, (scores, mask))


class TwoNets(torch.nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.one, self.two = torch.nn.Linear(8, 4), torch.nn.Linear(8, 4)

    def forward(self, x: torch.Tensor) -> Any:
        return Scored(self.one(x), self.two(x))


def test_a_result_of_a_class_that_tensors_do_not_make_is_refused() -> None:
    given = source_from_object(TwoNets(), {"x": torch.zeros(2, 8)})
    tensors = dict.fromkeys(("output_0", "output_1"), torch.zeros(2, 4))
    with pytest.raises(InputError, match="Scored, which forward returns"):
        _form(given, tensors)


Pair = namedtuple("Pair", "scores mask")


@pytest.mark.parametrize(
    "result",
    [
        torch.zeros(1),
        (torch.zeros(1), None, [torch.ones(1)]),
        {"a": torch.zeros(1), "b": {"c": torch.ones(1)}},
        Pair(torch.zeros(1), torch.ones(1)),
    ],
    ids=["tensor", "tuple", "dict", "namedtuple"],
)
def test_a_result_is_put_together_as_the_loss_knows_it(result: Any) -> None:
    from torch.utils._pytree import tree_flatten

    leaves, shape = tree_flatten(result)
    names = [f"v{index}" for index, leaf in enumerate(leaves) if leaf is not None]
    tensors = OrderedDict((name, torch.full((2,), float(index))) for index, name in enumerate(names))
    built = ResultForm(result, names)(tensors)
    found, again = tree_flatten(built)
    assert again == shape and type(built) is type(result)
    assert [leaf for leaf in found if leaf is not None] == list(tensors.values())


@pytest.mark.slow
def test_an_export_that_asks_for_it_trains_at_once(tmp_path: Path) -> None:
    bundle = edgepress.export(
        stripes.trained_net(),
        {"image": torch.from_numpy(stripes.pictures(2, 0)[0])},
        target=stripes.hard("server-cpu"),
        name="stripes",
        dynamic={"image": {0: "n"}},
        calibration=stripes.calibration,
        evaluate=stripes.evaluate,
        training=stripes.training,
        loss=stripes.loss,
        precision="int8",
        qat=True,
        training_settings=TrainingSettings(epochs=2),
        output=tmp_path,
    )
    report = load_report(bundle.path)
    assert [(step.name, step.shipped) for step in report.ladder.steps] == [("lifts", False), ("qat", True)]
    assert report.ladder.training.purpose == "quantization-aware training"
    assert report.ladder.trained_db > 40
    ground, trained = report.ladder.steps
    assert trained.metric > ground.metric and report.ladder.before > ground.metric
    assert {"engine", "int8 lifts", "fp32", "torch"} == report.latency.keys()
    assert report.parity["engine"]["output"].sqnr_db > 3
    edgepress.verify_bundle(bundle.path)
    text = bundle.report.read_text()
    assert "quantization-aware training" in text and "The graph of integers gives what the trained one gives" in text


class CutError(Exception):
    """A run that ends in its second epoch."""


@pytest.mark.slow
def test_a_training_that_was_cut_off_goes_on_to_the_same_weights(tmp_path: Path) -> None:
    given, target = source(), stripes.hard()
    graph = capture(given, target.opset, tmp_path / "model.onnx", axis_ranges(given, Recipe()))
    recipe = Recipe(training=TrainingSettings(epochs=2))
    statistics = gather(
        given, graph, Quantizer.of(graph, target.scheme), recipe, lambda samples: None, Memo(directory=tmp_path)
    )

    def cut(share: float | None, note: str = "") -> None:
        if note.startswith("epoch 2"):
            raise CutError

    def run(advance: Any, checkpoint: Path | None) -> Any:
        return learned(Quantizer.of(graph, target.scheme), statistics, given, recipe, advance, checkpoint)

    whole = run(lambda *_: None, None)
    with pytest.raises(CutError):
        run(cut, tmp_path / "kept")
    resumed = run(lambda *_: None, tmp_path / "kept")
    assert resumed.run.starts == 2 and len(resumed.run.history) == 2
    for name, weight in whole.fitted.items():
        assert np.array_equal(weight.values, resumed.fitted[name].values)


def test_a_loss_that_is_no_number_trains_nothing_and_is_an_error(tmp_path: Path) -> None:
    given, target = source(), stripes.hard()
    given = replace(given, loss=lambda outputs, targets: stripes.loss(outputs, targets) * float("nan"))
    graph = capture(given, target.opset, tmp_path / "model.onnx", axis_ranges(given, Recipe()))
    memo, recipe = Memo(directory=tmp_path), Recipe(training=TrainingSettings(epochs=1))
    statistics = gather(given, graph, Quantizer.of(graph, target.scheme), recipe, lambda samples: None, memo)
    with pytest.raises(InputError, match=r"Nothing was learned. It stopped at step 1 of epoch 1, .*NaN") as error:
        learned(Quantizer.of(graph, target.scheme), statistics, given, recipe, lambda *_: None, None)
    assert "--learning-rate" in str(error.value.hint)
