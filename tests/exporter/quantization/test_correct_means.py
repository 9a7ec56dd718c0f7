"""A value that occurs often is rounded to one side wherever it occurs; biases take the mean of that out again."""

import math
from dataclasses import replace

import numpy as np
import onnx_ir as ir
import onnxruntime as ort
import pytest
import torch
from torch import nn

from edgepress.calibration.affine import dequantized_weight, weight_scales
from edgepress.calibration.collect import collect
from edgepress.calibration.statistics import Examples
from edgepress.exporter.capture.capture import capture
from edgepress.exporter.graphs.files import read_model
from edgepress.exporter.graphs.means import layer_means
from edgepress.exporter.graphs.values import constant, expose
from edgepress.exporter.graphs.walk import Walk
from edgepress.exporter.quantization import gains, gather, quantizer
from edgepress.exporter.quantization.fitted import FittedWeight, weight_digest
from edgepress.exporter.quantization.judging import JudgingSamples
from edgepress.exporter.quantization.quantizer import Quantizer
from edgepress.exporter.quantization.trial import GraphTrial
from edgepress.exporter.recipe import Recipe
from edgepress.exporter.sources import source_from_object
from edgepress.exporter.workshop import Memo
from edgepress.profiles.device.target import load_target

SCHEMES = {name: load_target(name).scheme for name in ("server-cpu", "cpu", "mobile")}
# Half a step from a multiple of the scale that pictures between 0 and 1 get.
BACKGROUND = 20.5 / 255


class Pooled(nn.Module):
    def __init__(self):
        super().__init__()
        self.stem, self.body = nn.Conv2d(1, 8, 3), nn.Conv2d(8, 8, 3)
        self.head = nn.Linear(8, 4)

    def forward(self, image):
        x = torch.relu(self.stem(image))
        x = torch.relu(x[:, :, 1:-1, 1:-1] + self.body(x))
        return self.head(x.mean((2, 3)))


@pytest.fixture(scope="module")
def net(tmp_path_factory):
    """A captured network, pictures of mostly one value, and statistics of them with examples."""
    torch.manual_seed(0)
    rng = np.random.default_rng(0)
    pictures = np.full((64, 1, 16, 16), BACKGROUND, np.float32)
    pictures[:, :, 6:10, 6:10] = rng.uniform(0, 1, (64, 1, 4, 4))
    pictures[0, 0, 8, 8] = 1.0
    seen, held = ({"image": part} for part in (pictures[:32], pictures[32:]))
    example = {"image": torch.from_numpy(pictures[:2])}
    source = source_from_object(Pooled().eval(), example, dynamic={"image": {0: "n"}})
    graph = capture(source, 20, tmp_path_factory.mktemp("pooled") / "model.onnx", {})

    def statistics(scheme, *, examples=True):
        asked = Quantizer.of(graph, scheme).placement.observed()
        found = collect(graph, asked, lambda: iter([seen]))
        return replace(found, examples=Examples(read=lambda: (seen,))) if examples else found

    return graph, statistics, held


def run(path, feed):
    return ort.InferenceSession(str(path)).run(None, feed)[0]


def errors(net, scheme, lifts, path):
    graph, statistics, held = net
    notes = Quantizer.of(graph, scheme, lifts=lifts).write(statistics(scheme), path)
    assert "correct-means" not in lifts or notes["correct-means"] == "3 layers"
    return run(path, held) - run(graph.path, held)


@pytest.mark.parametrize("scheme", SCHEMES.values(), ids=SCHEMES)
def test_what_is_rounded_to_one_side_everywhere_is_made_good(net, scheme, tmp_path):
    plain = errors(net, scheme, (), tmp_path / "plain.onnx")
    corrected = errors(net, scheme, ("correct-means",), tmp_path / "corrected.onnx")
    assert np.abs(corrected.mean(0)).max() < 0.25 * np.abs(plain.mean(0)).max()
    assert np.square(corrected).sum() < 0.25 * np.square(plain).sum()  # 6 dB on pictures that nothing has seen


@pytest.mark.parametrize("scheme", SCHEMES.values(), ids=SCHEMES)
def test_what_makes_up_for_weights_is_not_made_good_twice(net, scheme, tmp_path):
    alone = errors(net, scheme, ("correct-means",), tmp_path / "alone.onnx")
    both = errors(net, scheme, ("correct-bias", "correct-means"), tmp_path / "both.onnx")
    np.testing.assert_allclose(both.mean(0), alone.mean(0), atol=1e-3 * np.abs(alone).max() + 1e-4)


@pytest.mark.parametrize(("needed", "kept"), [(0.5, ("correct-means",)), (100.0, ())])
def test_it_is_kept_for_what_it_brings(net, needed, kept, tmp_path, monkeypatch):
    graph, statistics, held = net
    target = load_target("server-cpu")
    monkeypatch.setattr(gains, "NEEDED_DB", {"correct-means": needed})
    expected = [{graph.outputs[0].name: run(graph.path, held)}]
    samples = JudgingSamples.of(graph, [held], "samples", expected)
    found = gains.worthwhile(graph, target, Recipe(), statistics(target.scheme), samples, tmp_path)
    assert tuple(lift for lift in found.lifts if lift == "correct-means") == kept
    assert any("correct-means" in sentence for sentence in found.sentences) is bool(kept)


def test_where_the_noise_has_no_mean_it_is_not_tried(net, tmp_path):
    """What each output has of a mean error is all that there is to gain."""
    graph, _, held = net
    rng = np.random.default_rng(0)
    right = run(graph.path, held)
    name = graph.outputs[0].name
    samples = JudgingSamples.of(graph, [held], "samples", [{name: right}])
    noise, shift = rng.normal(size=right.shape), 3 * np.ones(right.shape)
    for error, low, high in ((noise, 0, 0.3), (noise + shift, 9, 11), (shift, math.inf, math.inf)):
        answers = [{name: (right + error * np.abs(right).max()).astype(np.float64)}]
        trial = GraphTrial(
            graph=graph, target=None, samples=samples, method="mse", lifts=(), notes={}, _answers=answers
        )
        assert low <= trial.promises_db(1) <= high


def test_without_samples_the_lift_does_nothing(net, tmp_path):
    graph, statistics, _ = net
    scheme = SCHEMES["server-cpu"]
    bare, path = tmp_path / "bare.onnx", tmp_path / "none.onnx"
    Quantizer.of(graph, scheme, lifts=()).write(statistics(scheme), bare)
    notes = Quantizer.of(graph, scheme, lifts=("correct-means",)).write(statistics(scheme, examples=False), path)
    assert notes == {} and path.read_bytes() == bare.read_bytes()


def test_the_same_samples_give_the_same_bytes(net, tmp_path):
    graph, statistics, _ = net
    paths = [tmp_path / "one.onnx", tmp_path / "two.onnx"]
    for path in paths:
        scheme = SCHEMES["server-cpu"]
        Quantizer.of(graph, scheme, lifts=("correct-means",)).write(statistics(scheme), path)
    assert paths[0].read_bytes() == paths[1].read_bytes()


class Uneven(nn.Module):
    """Two convolutions between which channels are of unlike range."""

    def __init__(self):
        super().__init__()
        self.first, self.second, self.head = nn.Conv2d(1, 8, 3), nn.Conv2d(8, 8, 3), nn.Linear(8, 4)
        with torch.no_grad():
            self.first.weight *= torch.logspace(-2, 0, 8)[:, None, None, None]
            self.first.bias *= torch.logspace(-2, 0, 8)

    def forward(self, image):
        return self.head(torch.relu(self.second(torch.relu(self.first(image)))).mean((2, 3)))


def test_the_float_graph_runs_once_for_all_ranges(tmp_path, monkeypatch):
    """Channels that equalization divides by other factors have other means, which follow."""
    torch.manual_seed(0)
    rng, scheme = np.random.default_rng(0), SCHEMES["server-cpu"]
    feeds = [{"image": rng.uniform(0, size, (32, 1, 16, 16)).astype(np.float32)} for size in (1, 1.5)]
    example = {"image": torch.from_numpy(feeds[0]["image"][:2])}
    source = source_from_object(Uneven().eval(), example, dynamic={"image": {0: "n"}})
    graph = capture(source, 20, tmp_path / "model.onnx", {})
    asked = Quantizer.of(graph, scheme).placement.observed()
    seen = [collect(graph, asked, lambda feed=feed: iter([feed])) for feed in feeds]
    runs = []
    monkeypatch.setattr(quantizer, "layer_means", lambda *given: runs.append(1) or layer_means(*given))

    def written(statistics, examples, path):
        lifts = ("equalize", "correct-bias", "correct-means")
        notes = Quantizer.of(graph, scheme, lifts=lifts).write(replace(statistics, examples=examples), path)
        assert notes.keys() == set(lifts)
        return run(path, feeds[0])

    examples, own = Examples(read=lambda: (feeds[0],)), Examples(read=lambda: (feeds[0],))
    written(seen[0], examples, tmp_path / "first.onnx")
    after = written(seen[1], examples, tmp_path / "after.onnx")
    assert len(runs) == 1
    alone = written(seen[1], own, tmp_path / "alone.onnx")
    assert len(runs) == 2
    np.testing.assert_allclose(after, alone, atol=1e-4 * np.abs(alone).max())


class Pools(nn.Module):
    """A convolution before a pool, behind which alone some schemes round."""

    def __init__(self):
        super().__init__()
        self.stem, self.head = nn.Conv2d(3, 64, 3, padding=1), nn.Conv2d(64, 2, 1)

    def forward(self, image):
        return self.head(nn.functional.max_pool2d(torch.relu(self.stem(image)), 4)).mean((2, 3))


def test_how_many_samples_are_kept_hangs_on_the_largest_map_of_all(tmp_path):
    rng = np.random.default_rng(0)
    data = [{"image": rng.normal(size=(8, 3, 80, 80)).astype(np.float32)} for _ in range(12)]
    example = {"image": torch.from_numpy(data[0]["image"][:2])}
    source = source_from_object(Pools().eval(), example, dynamic={"image": {0: "n"}}, calibration=lambda: iter(data))
    graph, memo, recipe = capture(source, 17, tmp_path / "model.onnx", {}), Memo(directory=tmp_path), Recipe()
    scheme = load_target("jetson").scheme
    placed = Quantizer.of(graph, scheme)
    found = gather.gather(source, graph, placed, recipe, lambda samples: None, memo)
    others = gather.beyond(source, graph, placed, recipe, memo)
    assert max(state.count for state in found.tensors.values()) < 64 * 80 * 80 * found.samples
    for statistics in gather.with_examples(found, others, source, graph, recipe, memo):
        assert sum(len(feed["image"]) for feed in statistics.examples()) == (1 << 22) // (64 * 80 * 80)


def test_biases_that_were_trained_with_their_weights_stay(net, tmp_path):
    graph, statistics, held = net
    scheme = SCHEMES["server-cpu"]
    quantizer = Quantizer.of(graph, scheme, lifts=())
    node = next(site.node for site in quantizer.placement.weights if site.node.op_type == "Gemm")
    weight = constant(node.inputs[1])
    (axis,) = (site.scale_axis(scheme.weight) for site in quantizer.placement.weights if site.node is node)
    scales = weight_scales(weight, axis, scheme.weight)
    values, bias = dequantized_weight(weight, scales, axis, scheme.weight), np.full(4, 5, np.float32)
    trained = {str(node.name): FittedWeight(of=weight_digest(weight), values=values, scales=scales, bias=bias)}
    paths = [tmp_path / "bare.onnx", tmp_path / "lifted.onnx"]
    for lifts, path in zip([(), ("correct-means",)], paths, strict=True):
        assert Quantizer.of(graph, scheme, lifts=lifts, fitted=trained).write(statistics(scheme), path) == {}
    np.testing.assert_array_equal(run(paths[0], held), run(paths[1], held))
    assert run(paths[0], held).mean() > 4


def test_samples_neither_merge_nor_are_stored(net):
    _, statistics, _ = net
    with_samples = statistics(SCHEMES["server-cpu"])
    assert with_samples.examples() and with_samples.merge(with_samples).examples() == ()


def test_a_walk_computes_what_the_graph_does(net, tmp_path):
    graph, _, held = net
    model = read_model(graph.path)
    layers = [node for node in model.graph if node.op_type in ("Conv", "Gemm")]
    feeds = [held, {"image": held["image"][:3]}]
    walk = Walk(model.clone(), feeds, tmp_path / "piece.onnx")
    walked = {}
    for node in [node for node in walk._model.graph if node.op_type in ("Conv", "Gemm")]:
        walked[node.name] = [value.copy() for value in walk.until(node)]
    expose(model.graph, [layer.outputs[0].name for layer in layers])
    ir.save(model, tmp_path / "exposed.onnx")
    session = ort.InferenceSession(str(tmp_path / "exposed.onnx"))
    for layer in layers:
        for feed, value in zip(feeds, walked[layer.name], strict=True):
            np.testing.assert_allclose(value, session.run([layer.outputs[0].name], feed)[0], atol=1e-5)


def test_a_bias_that_int32_cannot_hold_keeps_to_its_end(net, tmp_path):
    """The sums of a channel whose scale is tiny would wrap silently."""
    from edgepress.exporter.quantization.lifts.correct_means import _add

    integers, scales = np.array([10, -20], np.int32), np.array([1e-12, 1e-3], np.float32)
    graph = ir.from_onnx_text(
        '<ir_version: 10, opset_import: ["": 18]> g (float[1,1] x) => (float[1,2] y) '
        "<float[2,1] w = {1, 1}, int32[2] b = {10, -20}, float[2] s = {1, 1}> "
        "{ d = DequantizeLinear <axis = 0> (b, s) y = Gemm <transB = 1> (x, w, d) }"
    ).graph
    dequantize, node = graph
    graph.initializers["s"].const_value = ir.Tensor(scales, name="s")
    added = _add(graph, {"b", "s"}, node, np.array([1.0, -0.0121]))
    new = constant(dequantize.inputs[0])
    np.testing.assert_array_equal(new[1], -32)
    assert 0 < new[0] < np.iinfo(np.int32).max and new.dtype == integers.dtype
    np.testing.assert_allclose(added, [(new[0] - 10) * 1e-12, -0.012], rtol=1e-5)
