"""What int8 does to each layer: switches against real int8 graphs, the ranking, its reasons, and the search."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from torch import nn

from edgepress.backends.base import AxisRange, Graph
from edgepress.calibration.collect import collect
from edgepress.calibration.feeds import checked
from edgepress.calibration.statistics import Statistics
from edgepress.exporter.capture.capture import capture
from edgepress.exporter.quantization.judging import JudgingSamples
from edgepress.exporter.quantization.layer_parity import layer_parity
from edgepress.exporter.quantization.noise import Board, Noise, decibel, literal, measure_noise
from edgepress.exporter.quantization.quantizer import Quantizer
from edgepress.exporter.quantization.relax import EVALUATIONS, Evaluation, Requirement, fewest, relax
from edgepress.exporter.quantization.switches import switches
from edgepress.exporter.sources import Source, source_from_object
from edgepress.exporter.workshop import Memo
from edgepress.profiles.budget.limits import Drop
from edgepress.profiles.device.target import Scheme, load_target
from edgepress.profiles.findings.parity import parity, worst

from ._int8 import opened


def scheme(name: str) -> Scheme:
    found = load_target(name).scheme
    assert found is not None
    return found


def statistics_of(graph: Graph, source: Source, found: Scheme) -> Statistics:
    assert source.calibration is not None
    feeds = checked(lambda: iter(source.calibration()), graph.inputs, "calibration()")  # type: ignore[misc]
    return collect(graph, Quantizer.of(graph, found).placement.observed(), feeds)


def first(source: Source) -> dict[str, Any]:
    assert source.calibration is not None
    return dict(next(iter(source.calibration())))


def run(path: Path, feed: dict[str, Any], *, optimized: bool = True) -> dict[str, Any]:
    session = opened(path, optimized=optimized)
    return dict(zip([o.name for o in session.get_outputs()], session.run(None, feed), strict=True))


def sqnr(graph: Graph, path: Path, feed: dict[str, Any]) -> float:
    return worst(parity([run(graph.path, feed)], [run(path, feed)])).sqnr_db


@pytest.mark.parametrize("exclude", [(), ("head/Gemm",), ("first.0/Conv", "second.0/Conv", "shortcut/Conv")])
@pytest.mark.parametrize("name", ["server-cpu", "cpu", "rpi5", "rtx"])
def test_the_switches_of_a_placement_give_what_its_int8_graph_gives(
    residual_graph: Graph, residual_source: Source, tmp_path: Path, name: str, exclude: tuple[str, ...]
) -> None:
    chosen, feed = scheme(name), first(residual_source)
    statistics = statistics_of(residual_graph, residual_source, chosen)
    smaller = Quantizer.of(residual_graph, chosen, exclude, lifts=())
    assert set(exclude) <= smaller.placement.left.keys()
    on = switches(smaller.placement)
    smaller.write(statistics, tmp_path / "int8.onnx")
    with Board(Quantizer.of(residual_graph, chosen, lifts=()), residual_graph, statistics, tmp_path) as board:
        assert set(on) <= set(board.switches)
        found = board.run(on, feed, board.outputs)
        plain = board.run((), feed, board.outputs)
    # As written: optimizing, onnxruntime fuses what it can into integer kernels, which round a little differently.
    real, reference = run(tmp_path / "int8.onnx", feed, optimized=False), run(residual_graph.path, feed)
    np.testing.assert_allclose(plain["output"], reference["output"], atol=1e-5)
    noise = np.abs(real["output"] - reference["output"]).max()
    assert np.abs(found["output"] - real["output"]).max() < 0.1 * noise


def test_parity_by_layer_is_that_of_the_int8_graph(
    residual_graph: Graph, residual_source: Source, tmp_path: Path
) -> None:
    """Against the same tensors read out of the float graph and of the graph that is shipped."""
    chosen, feed = scheme("rtx"), first(residual_source)
    statistics = statistics_of(residual_graph, residual_source, chosen)
    found = layer_parity(Quantizer.of(residual_graph, chosen, lifts=()), residual_graph, statistics, feed, tmp_path)
    Quantizer.of(residual_graph, chosen, lifts=()).write(statistics, tmp_path / "int8.onnx")
    layers = {layer.layer: layer.sqnr_db for layer in found.layers}
    assert list(layers) == [node.name for node in onnx.load(residual_graph.path).graph.node if node.name in layers]
    assert len(layers) == 5
    assert found.samples == 4
    plain, rounded = (with_outputs(path, layers, tmp_path) for path in (residual_graph.path, tmp_path / "int8.onnx"))
    for name, sqnr_db in layers.items():
        exact, near = (run(path, feed)[tensor] for path, tensor in (plain[name], rounded[name]))
        power = float(np.square(exact).sum() / np.square(exact - near).sum())
        assert sqnr_db == pytest.approx(10 * np.log10(power), abs=0.5), name


def with_outputs(path: Path, layers: dict[str, float], directory: Path) -> dict[str, tuple[Path, str]]:
    """By layer: a copy of the model that gives all their outputs, and the name of the one of this layer."""
    model = onnx.load(path)
    names = {node.name: node.output[0] for node in model.graph.node if node.name in layers}
    present = {output.name for output in model.graph.output}
    model.graph.output.extend(onnx.ValueInfoProto(name=name) for name in names.values() if name not in present)
    copy = directory / f"all-{path.name}"
    onnx.save(model, copy)
    return {name: (copy, tensor) for name, tensor in names.items()}


def test_a_lift_that_makes_up_for_a_weight_goes_with_it(
    residual_graph: Graph, residual_source: Source, tmp_path: Path
) -> None:
    chosen = scheme("server-cpu")
    quantizer = Quantizer.of(residual_graph, chosen)
    statistics = statistics_of(residual_graph, residual_source, chosen)
    with Board(quantizer, residual_graph, statistics, tmp_path) as board:
        plain = board.run((), first(residual_source), board.outputs)
    expected = run(residual_graph.path, first(residual_source))["output"]
    np.testing.assert_allclose(plain["output"], expected, atol=1e-5)


class Stack(nn.Module):
    """Six equal layers; the third reads one channel that is 300 times the others, and its weight makes up for it."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.layers = nn.ModuleList(nn.Linear(32, 32, bias=False) for _ in range(6))
        self.scale = nn.Parameter(torch.ones(32))
        with torch.no_grad():
            self.scale[5] = 300.0
            self.layers[2].weight[:, 5] /= 300.0  # type: ignore[index, union-attr, operator]

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        for index, layer in enumerate(self.layers):
            x = layer(x * self.scale if index == 2 else x)
            x = torch.tanh(3 * x) if index < 5 else x
        return x


@pytest.fixture(scope="module")
def stack() -> Source:
    def batches() -> Iterator[dict[str, Any]]:
        rng = np.random.default_rng(0)
        return iter([{"x": rng.normal(size=(16, 32)).astype(np.float32)} for _ in range(8)])

    return source_from_object(
        Stack().eval(), {"x": torch.randn(2, 32)}, name="stack", dynamic={"x": {0: "batch"}}, calibration=batches
    )


@pytest.fixture(scope="module")
def stack_graph(stack: Source, tmp_path_factory: pytest.TempPathFactory) -> Graph:
    path = tmp_path_factory.mktemp("stack") / "model.onnx"
    return capture(stack, 20, path, {"batch": AxisRange(smallest=1, usual=2, largest=32)})


@pytest.fixture
def noise(stack: Source, stack_graph: Graph, tmp_path: Path) -> Noise:
    chosen = scheme("server-cpu")
    quantizer = Quantizer.of(stack_graph, chosen, lifts=())
    return measure_noise(quantizer, stack_graph, statistics_of(stack_graph, stack, chosen), first(stack), (), tmp_path)


def test_the_layer_with_the_outlier_comes_first_and_the_reason_names_the_channel(noise: Noise) -> None:
    ranking = noise.ranking()
    assert len(ranking) == 6
    assert ranking[0] == "layers.2/Gemm"
    assert noise.share(ranking[0]) > 0.5
    assert noise.tensor(ranking[0]) == "activation"
    assert "outlier channel: channel 5 reaches" in noise.why[ranking[0]]
    assert not any("outlier" in noise.why[name] for name in ranking[1:])
    # Alone, its rounding is all that is lost between its input and its output.
    assert decibel(noise.own(ranking[0])) < 30


def test_noise_adds_up_to_what_int8_graphs_have(
    noise: Noise, stack: Source, stack_graph: Graph, tmp_path: Path
) -> None:
    chosen = scheme("server-cpu")
    statistics = statistics_of(stack_graph, stack, chosen)
    for count in (0, 1, 2):
        left = noise.ranking()[:count]
        Quantizer.of(stack_graph, chosen, literal(left), lifts=()).write(statistics, tmp_path / "int8.onnx")
        assert noise.predicted_db(left) == pytest.approx(sqnr(stack_graph, tmp_path / "int8.onnx", first(stack)), abs=2)


def test_a_depthwise_convolution_is_called_that(tmp_path: Path) -> None:
    net = nn.Sequential(nn.Conv2d(3, 8, 1), nn.ReLU(), nn.Conv2d(8, 8, 3, groups=8), nn.Flatten(), nn.Linear(288, 4))
    rng = np.random.default_rng(0)
    batches = [{"input": rng.normal(size=(8, 3, 8, 8)).astype(np.float32)} for _ in range(2)]
    source = source_from_object(
        net.eval(),
        {"input": torch.randn(2, 3, 8, 8)},
        name="d",
        dynamic={"input": {0: "n"}},
        calibration=lambda: batches,
    )
    graph = capture(source, 20, tmp_path / "model.onnx", {"n": AxisRange(smallest=1, usual=2, largest=8)})
    chosen = scheme("cpu")
    found = measure_noise(
        Quantizer.of(graph, chosen, lifts=()), graph, statistics_of(graph, source, chosen), batches[0], (), tmp_path
    )
    (depthwise,) = [name for name, why in found.why.items() if "depthwise: 9 products an output" in why]
    assert depthwise == "2/Conv"
    assert sum(found.share(name) for name in found.layers) == pytest.approx(1, abs=0.35)


# The search


@pytest.mark.parametrize("answer", [1, 2, 3, 7, 20, 35])
@pytest.mark.parametrize("guess", [0, 1, 3, 20, 36])
def test_the_fewest_is_found_in_seven_evaluations(answer: int, guess: int) -> None:
    tried: list[int] = []

    def holds(count: int) -> bool:
        tried.append(count)
        return count >= answer

    found = fewest(36, guess, holds, EVALUATIONS - 1)
    assert len(tried) == len(set(tried)) <= EVALUATIONS - 1
    assert min(tried) > 0 and max(tried) < 36
    assert found is not None
    assert found == answer or (len(tried) == EVALUATIONS - 1 and found - answer <= 2)


def test_nothing_is_found_where_nothing_holds() -> None:
    assert fewest(36, 3, lambda count: False, 7) is None
    assert fewest(1, 0, lambda count: True, 7) is None


def test_a_requirement_is_of_both_the_metric_and_the_noise() -> None:
    both = Requirement(least_db=20, drop=Drop(amount=0.01, relative=True), before=0.9)
    assert both.holds(Evaluation(sqnr_db=22, assured_db=20, metric=0.892))
    assert not both.holds(Evaluation(sqnr_db=22, assured_db=20, metric=0.89))
    assert not both.holds(Evaluation(sqnr_db=22, assured_db=19.9, metric=0.9))
    assert str(both) == "a metric of at least 0.8910 and 20 dB of SQNR"


def test_the_search_leaves_the_fewest_layers_that_the_real_graph_needs(
    noise: Noise, stack: Source, stack_graph: Graph, tmp_path: Path
) -> None:
    chosen = scheme("server-cpu")
    statistics = statistics_of(stack_graph, stack, chosen)

    def evaluate(left: tuple[str, ...]) -> Evaluation:
        Quantizer.of(stack_graph, chosen, literal(left), lifts=()).write(statistics, tmp_path / "int8.onnx")
        found = sqnr(stack_graph, tmp_path / "int8.onnx", first(stack))
        return Evaluation(sqnr_db=found, assured_db=found)

    full, one = (evaluate(tuple(noise.ranking()[:count])).sqnr_db for count in (0, 1))
    found = relax(noise, Requirement(least_db=(full + one) / 2), evaluate)
    assert found.left == ("layers.2/Gemm",)
    assert found.reached_db == pytest.approx(one)
    assert [trial.holds for trial in found.trials] == [False, True]
    assert "1 layer (" in found.summary
    nothing = relax(noise, Requirement(least_db=200), evaluate)
    assert nothing.left == ()
    assert len(nothing.trials) <= EVALUATIONS


@pytest.mark.slow
def test_three_of_36_products_of_minilm_hold_most_of_its_noise(examples: Path, tmp_path: Path) -> None:
    from edgepress.backends.places import Reference
    from edgepress.exporter.pipeline import axis_ranges
    from edgepress.exporter.quantization.gains import worthwhile
    from edgepress.exporter.quantization.gather import calibration_feeds, gather
    from edgepress.exporter.recipe import Recipe
    from edgepress.exporter.sources import load_source

    source, target, recipe = load_source(str(examples / "minilm.py")), load_target("server-cpu"), Recipe()
    graph = capture(source, target.opset, tmp_path / "model.onnx", axis_ranges(source, recipe))
    chosen = scheme("server-cpu")
    statistics = gather(
        source, graph, Quantizer.of(graph, chosen), recipe, lambda samples: None, Memo(directory=tmp_path)
    )
    judging = list(islice(calibration_feeds(source, recipe, graph)(), 4))

    def outputs(of: Graph, feeds: list[Any]) -> list[dict[str, Any]]:
        with Reference().open(Reference().runs(of, target, "fp32", None)) as session:
            return [session(feed) for feed in feeds]

    tried = JudgingSamples.of(graph, judging[:2], "samples", outputs(graph, judging[:2]))
    lifts = worthwhile(graph, target, recipe, statistics, tried, tmp_path).lifts
    noise = measure_noise(Quantizer.of(graph, chosen, lifts=lifts), graph, statistics, judging[0], (), tmp_path)
    assert len(noise.layers) == 36

    held_out = judging[2:]  # neither lifts nor ranking have seen these
    expected = outputs(graph, held_out)

    def evaluate(left: tuple[str, ...]) -> Evaluation:
        Quantizer.of(graph, chosen, literal(left), lifts=lifts).write(statistics, tmp_path / "int8.onnx")
        found = worst(parity(expected, outputs(replace(graph, path=tmp_path / "int8.onnx"), held_out))).sqnr_db
        return Evaluation(sqnr_db=found, assured_db=found)

    full = evaluate(()).sqnr_db
    found = relax(noise, Requirement(least_db=full + 2), evaluate)
    assert 1 <= len(found.left) <= 3
    assert found.reached_db >= full + 2
    assert len(found.trials) <= 8
