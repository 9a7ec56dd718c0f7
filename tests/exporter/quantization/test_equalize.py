"""Equalization must not change what the float graph computes, and must pay where channels differ."""

from dataclasses import replace

import numpy as np
import onnx_ir as ir
import onnxruntime as ort
import pytest
import torch
from torch import nn

from edgepress.calibration.collect import collect
from edgepress.calibration.statistics import Channels, TensorStatistics
from edgepress.exporter.capture.capture import capture
from edgepress.exporter.cli import export
from edgepress.exporter.quantization.analysis.channel_domains import find_domains
from edgepress.exporter.quantization.lifts import LIFTS, equalize
from edgepress.exporter.quantization.quantizer import Quantizer
from edgepress.exporter.sources import source_from_object
from edgepress.profiles.device.target import load_target

SCHEMES = {name: load_target(name).scheme for name in ("server-cpu", "rpi5", "rtx", "cpu")}
CHANNELS = 8


class Unequal(nn.Module):
    """Every structure that scales pass through, with channels whose sizes differ by a factor of up to a hundred."""

    def __init__(self, activation):
        super().__init__()
        self.stem = nn.Conv2d(3, CHANNELS, 3, padding=1)
        self.depthwise = nn.Conv2d(CHANNELS, CHANNELS, 3, padding=1, groups=CHANNELS)
        self.grouped = nn.Conv2d(CHANNELS, CHANNELS, 3, padding=1, groups=2)
        self.project = nn.Conv2d(CHANNELS, CHANNELS, 1, bias=False)
        self.expand = nn.Conv2d(CHANNELS, 12, 1)
        self.hidden, self.head = nn.Linear(12, CHANNELS), nn.Linear(CHANNELS, 4)
        self.activation = activation
        with torch.no_grad():
            spread((self.stem, self.project), (self.depthwise, self.expand))
            spread((self.depthwise,), (self.grouped,))
            spread((self.grouped,), (self.project,))
            spread((self.hidden,), (self.head,))

    def forward(self, image):
        act = self.activation
        x = nn.functional.max_pool2d(act(self.stem(image)), 2)
        x = x + self.project(act(self.grouped(act(self.depthwise(x)))))
        x = act(self.expand(x)).mean((2, 3))
        return self.head(act(self.hidden(x)))


def spread(sources, sinks):
    """Shrink channels by up to a factor of 30 and let their readers undo it: small channels matter as much."""
    sizes = torch.exp(torch.empty(CHANNELS).uniform_(-3.4, 0))
    for layer in sources:
        layer.weight *= sizes.reshape(-1, *[1] * (layer.weight.ndim - 1))
        if layer.bias is not None:
            layer.bias *= sizes
    for layer in sinks:
        groups, inside = getattr(layer, "groups", 1), layer.weight.shape[1]
        columns = layer.weight.reshape(groups, -1, inside, layer.weight[0, 0].numel())
        columns /= sizes.reshape(groups, 1, inside, 1)


@pytest.fixture(scope="module")
def graphs(tmp_path_factory):
    """The captured network with each activation, and its data."""
    made = {}

    def graph(activation):
        if type(activation) not in made:
            made[type(activation)] = unequal(activation, tmp_path_factory.mktemp("unequal") / "model.onnx")
        return made[type(activation)]

    return graph


def unequal(activation, path):
    torch.manual_seed(0)
    rng = np.random.default_rng(0)
    data = [{"image": rng.normal(size=(8, 3, 12, 12)).astype(np.float32)} for _ in range(4)]
    source = source_from_object(
        Unequal(activation).eval(), {"image": torch.randn(2, 3, 12, 12)}, dynamic={"image": {0: "n"}}
    )
    return capture(source, 20, path, {}), data


def run(path, data):
    session = ort.InferenceSession(path)
    return np.concatenate([session.run(None, feed)[0] for feed in data])


def sqnr_db(expected, found):
    return 10 * np.log10((expected**2).sum() / ((expected - found) ** 2).sum())


@pytest.mark.parametrize("activation", [nn.ReLU(), nn.ReLU6(), nn.LeakyReLU(0.1)], ids=lambda a: type(a).__name__)
@pytest.mark.parametrize("name", ["server-cpu", "rtx"])
def test_the_float_graph_computes_the_same(activation, name, graphs, tmp_path):
    graph, data = graphs(activation)
    quantizer = Quantizer.of(graph, SCHEMES[name])
    statistics = collect(graph, quantizer.placement.observed(), lambda: iter(data))
    lifted = equalize.lift(quantizer.model.graph, quantizer.placement, statistics.tensors, SCHEMES[name])
    assert len(lifted.factors) >= 3 and all(np.ptp(np.log(s)) > 1 for s in lifted.factors.values())
    ir.save(quantizer.model, tmp_path / "equalized.onnx")
    expected, found = run(graph.path, data), run(tmp_path / "equalized.onnx", data)
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", SCHEMES)
def test_unequal_channels_gain_decibels(name, graphs, tmp_path):
    graph, data = graphs(nn.ReLU6())
    expected, reached = run(graph.path, data), {}
    for lifts in ((), ("equalize",)):
        quantizer = Quantizer.of(graph, SCHEMES[name], lifts=lifts)
        statistics = collect(graph, quantizer.placement.observed(), lambda: iter(data))
        notes = quantizer.write(statistics, tmp_path / "int8.onnx")
        assert set(notes) == set(lifts)
        reached[lifts] = sqnr_db(expected, run(tmp_path / "int8.onnx", data))
    assert reached["equalize",] > reached[()] + 1.5  # 1.8 dB at least


def test_bias_correction_reckons_with_the_rescaled_means(graphs, tmp_path):
    graph, data = graphs(nn.ReLU())
    scheme = SCHEMES["rtx"]
    chained = Quantizer.of(graph, scheme, lifts=("equalize", "correct-bias"))
    observed = chained.placement.observed()
    statistics = collect(graph, observed, lambda: iter(data))
    chained.write(statistics, tmp_path / "chained.onnx")

    equalized = Quantizer.of(graph, scheme)
    equalize.lift(equalized.model.graph, equalized.placement, statistics.tensors, scheme)
    ir.save(equalized.model, tmp_path / "equalized.onnx")
    graph = replace(graph, path=tmp_path / "equalized.onnx")
    afresh = Quantizer.of(graph, scheme, lifts=("correct-bias",))
    afresh.write(collect(graph, observed, lambda: iter(data)), tmp_path / "afresh.onnx")

    one, other = (biases(tmp_path / f"{stem}.onnx") for stem in ("chained", "afresh"))
    assert len(one) == len(other) == 7
    for a, b in zip(one, other, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-5)


def biases(path):
    """The float biases of all layers, in graph order."""
    layers = [node for node in ir.load(path).graph if node.op_type in ("Conv", "Gemm")]
    return [node.inputs[2].const_value.numpy() for node in layers]


def test_ranges_are_those_that_the_rescaled_tensors_have(graphs, tmp_path):
    graph, data = graphs(nn.ReLU())
    quantizer = Quantizer.of(graph, SCHEMES["cpu"])
    observed = quantizer.placement.observed()
    statistics = collect(graph, observed, lambda: iter(data))
    lifted = equalize.lift(quantizer.model.graph, quantizer.placement, statistics.tensors, SCHEMES["cpu"])
    ir.save(quantizer.model, tmp_path / "equalized.onnx")
    divided = dict.fromkeys(lifted.factors, Channels(axis=1, spread=True))
    assert divided.keys() & {node.outputs[0].name for node in quantizer.model.graph if node.op_type == "Conv"}
    before = collect(graph, divided, lambda: iter(data)).tensors
    everything = {**observed, **divided}
    again = collect(replace(graph, path=tmp_path / "equalized.onnx"), everything, lambda: iter(data)).tensors
    for name, factors in lifted.factors.items():
        state = before[name].channels.divided(factors)
        np.testing.assert_allclose(state.mean(), again[name].channels.mean(), rtol=1e-3, atol=1e-5)
        np.testing.assert_allclose(state.maximum, again[name].channels.maximum, rtol=1e-4, atol=1e-5)
    alone = [name for name in lifted.ranges if "pool" not in name and "relu" not in name]
    assert alone
    for name in alone:
        low, high = lifted.ranges[name]
        np.testing.assert_allclose((low, high), (min(0, again[name].minimum), again[name].maximum), rtol=1e-4)


class Ends(nn.Module):
    """Domains that must be left alone: one reaches an output, one a sigmoid, one a weight that two layers share."""

    def __init__(self):
        super().__init__()
        self.first, self.second, self.third = (nn.Conv2d(4, 4, 1) for _ in range(3))

    def forward(self, image):
        a = self.first(image)
        b = self.second(a.sigmoid())
        c = self.third(self.third(b.relu()))
        return a, c


def test_what_does_not_follow_a_scale_is_left_alone(tmp_path):
    torch.manual_seed(0)
    source = source_from_object(Ends().eval(), {"image": torch.randn(2, 4, 6, 6)}, dynamic={"image": {0: "n"}})
    graph = capture(source, 20, tmp_path / "model.onnx", {})
    assert list(find_domains(ir.load(graph.path).graph)) == []


def test_dividing_channels_divides_means_and_extremes():
    array = np.random.default_rng(0).normal(size=(4, 3, 5, 5)).astype(np.float32)
    factors = np.asarray([0.5, 1.0, 30.0])
    before = TensorStatistics.of(array, Channels(axis=1, spread=True)).channels
    expected = array / factors.reshape(1, -1, 1, 1)
    found = before.divided(factors)
    np.testing.assert_allclose(found.mean(), expected.mean((0, 2, 3)), rtol=1e-5, atol=1e-8)
    np.testing.assert_allclose(found.mean_square(), (expected**2).mean((0, 2, 3)), rtol=1e-5)
    np.testing.assert_allclose(found.largest(), np.abs(expected).max((0, 2, 3)), rtol=1e-6)


def test_the_command_line_offers_every_lift():
    offered = next(option for option in export.command.params if option.name == "lifts")
    assert offered.type.choices == ("equalize", "smooth", "correct-bias", "correct-means") == LIFTS.names()
