"""Detectors with SiLU: integers go through split, joined, pooled and resized maps with no conversion between."""

from dataclasses import replace

import numpy as np
import onnx
import onnxruntime as ort
import openvino
import pytest
import torch
from torch import nn

from edgepress.calibration.collect import collect
from edgepress.calibration.feeds import checked
from edgepress.calibration.statistics import TensorStatistics
from edgepress.exporter.capture.capture import capture
from edgepress.exporter.quantization.quantizer import Quantizer
from edgepress.exporter.sources import source_from_object
from edgepress.profiles.device.target import load_target

CPU, X86, RTX = (load_target(name).scheme for name in ("cpu", "server-cpu", "rtx"))
MOVERS = {"Split", "Concatenation", "Pooling", "Interpolate"}


class Silu(nn.Module):
    def __init__(self, before, after, size=1, stride=1):
        super().__init__()
        self.conv, self.norm = nn.Conv2d(before, after, size, stride, size // 2), nn.BatchNorm2d(after)

    def forward(self, x):
        return nn.functional.silu(self.norm(self.conv(x)))


class Halves(nn.Module):
    """A half that is split off goes through residual convolutions; all that was seen is joined."""

    def __init__(self, width):
        super().__init__()
        self.first, self.last = Silu(width, width), Silu(width * 3 // 2, width)
        self.steps = nn.Sequential(Silu(width // 2, width // 2, 3), Silu(width // 2, width // 2, 3))

    def forward(self, x):
        one, other = self.first(x).chunk(2, 1)
        return self.last(torch.cat([one, other, other + self.steps(other)], 1))


class Detector(nn.Module):
    """Strided SiLU convolutions, halves, a pyramid of pools, a resized way back up, boxes beside scores."""

    def __init__(self, mode="nearest"):
        super().__init__()
        self.start = nn.Sequential(Silu(3, 16, 3, 2), Silu(16, 32, 3, 2), Halves(32))
        self.down = nn.Sequential(Silu(32, 32, 3, 2), Halves(32))
        self.pool, self.after = nn.MaxPool2d(5, 1, 2), Silu(96, 32)
        self.up, self.joined = nn.Upsample(scale_factor=2, mode=mode), Halves(64)
        self.boxes, self.scores = nn.Conv2d(64, 4, 1), nn.Conv2d(64, 5, 1)

    def forward(self, x):
        fine = self.start(x)
        coarse = self.down(fine)
        pooled = self.pool(coarse)
        coarse = self.after(torch.cat([coarse, pooled, self.pool(pooled)], 1))
        found = self.joined(torch.cat([self.up(coarse), fine], 1))
        return torch.cat([self.boxes(found) * 50, torch.sigmoid(self.scores(found))], 1)


class Rectified(nn.Module):
    """A norm behind each rectifier, then a pool, as in pitch trackers: the norm does not fold into a convolution."""

    def __init__(self):
        super().__init__()
        self.first, self.second = nn.Conv2d(3, 16, 3, padding=1), nn.Conv2d(16, 16, 3, padding=1)
        self.norms = nn.ModuleList([nn.BatchNorm2d(16), nn.BatchNorm2d(16)])

    def forward(self, x):
        for conv, norm in zip((self.first, self.second), self.norms, strict=True):
            x = nn.functional.max_pool2d(norm(torch.relu(conv(x))), 2)
        return x.mean((2, 3))


def images(seed, count):
    generator = torch.Generator().manual_seed(seed)
    coarse = torch.randn(count, 3, 8, 8, generator=generator)
    return nn.functional.interpolate(coarse, size=64, mode="bilinear").numpy()


def made(tmp_path_factory, network):
    torch.manual_seed(0)
    network = network.train()
    with torch.no_grad():
        for seed in range(8):  # norms that fit what comes
            network(torch.from_numpy(images(seed, 8)))
    source = source_from_object(network.eval(), {"x": torch.from_numpy(images(0, 1))}, name="detector")
    return capture(source, 20, tmp_path_factory.mktemp("silu") / "model.onnx", {})


@pytest.fixture(scope="module")
def detector(tmp_path_factory):
    return made(tmp_path_factory, Detector())


def quantized(graph, scheme, path):
    quantizer = Quantizer.of(graph, scheme, lifts=("correct-bias",))
    feeds = checked(lambda: ({"x": images(100 + i, 1)} for i in range(24)), graph.inputs, "calibration()")
    quantizer.write(collect(graph, quantizer.placement.observed(), feeds), path)
    onnx.checker.check_model(str(path), full_check=True)
    return path


def reference(path, feeds):
    options = ort.SessionOptions()
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = ort.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    return np.concatenate([session.run(None, {"x": feed})[0] for feed in feeds])


def on_openvino(path):
    return openvino.Core().compile_model(path, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})


def layers(compiled):
    """(layer type, kernel, precision of its results) of each node of the runtime model."""
    for op in compiled.get_runtime_model().get_ordered_ops():
        facts = {key: str(getattr(value, "value", value)) for key, value in op.get_rt_info().items()}
        yield facts["layerType"], facts.get("primitiveType", ""), facts["outputPrecisions"].split(",")[0]


def sqnr(expected, found):
    return 10 * np.log10(np.square(expected).sum() / np.square(expected - found).sum())


def test_integers_pass_between_the_convolutions_on_openvino(detector, tmp_path):
    compiled = on_openvino(quantized(detector, CPU, tmp_path / "int8.onnx"))
    found = list(layers(compiled))
    moved = [(kind, precision) for kind, _, precision in found if kind in MOVERS]
    assert moved.count(("Split", "u8")) == 3 and moved.count(("Pooling", "u8")) == 2
    assert moved.count(("Interpolate", "u8")) == 1 and moved.count(("Concatenation", "u8")) == 5
    converted = [(kind, kernel) for kind, kernel, precision in found if kind not in MOVERS and precision == "u8"]
    assert not [kind for kind, kernel in converted if kind in ("Subgraph", "FakeQuantize") and "I8" in kernel]

    held_out = [images(200 + i, 1) for i in range(8)]
    expected = reference(detector.path, held_out)
    answers = np.concatenate([next(iter(compiled({"x": feed}).values())) for feed in held_out])
    assert sqnr(expected[:, :4], answers[:, :4]) > 20 and sqnr(expected[:, 4:], answers[:, 4:]) > 20


def test_silu_is_two_integer_operators_on_onnxruntime_x86(detector, tmp_path):
    path, options = quantized(detector, X86, tmp_path / "int8.onnx"), ort.SessionOptions()
    options.optimized_model_filepath = str(tmp_path / "optimized.onnx")
    session = ort.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    operators = [node.op_type for node in onnx.load(options.optimized_model_filepath).graph.node]
    convolutions = sum(node.op_type == "Conv" for node in onnx.load(detector.path).graph.node)
    assert operators.count("QLinearSigmoid") == operators.count("QLinearMul") == convolutions - 2
    assert operators.count("QLinearConcat") == 5

    held_out = [images(200 + i, 1) for i in range(8)]
    expected = reference(detector.path, held_out)
    answers = np.concatenate([session.run(None, {"x": feed})[0] for feed in held_out])
    assert sqnr(expected[:, :4], answers[:, :4]) > 20 and sqnr(expected[:, 4:], answers[:, 4:]) > 20


def test_a_gate_keeps_its_largest_values_which_meet_the_largest_factors(detector):
    """A range of least squares would give up the top of it: 1.4 dB of a real detector's scores."""
    quantizer = Quantizer.of(detector, X86)
    tensors = {
        name: TensorStatistics.of(np.append(np.full(100_000, 0.5, np.float32), np.float32(1)))
        for name in quantizer.placement.observed()
    }
    gates = {str(value.name) for value in quantizer.placement.gates}
    scales = {name: found.scale * 255 for name, found in quantizer.ranges(tensors).items()}
    assert len(gates) == 16 and all(scales[name] == pytest.approx(1) for name in gates)
    assert min(scales.values()) < 0.98, "as least squares have it"


def test_a_pair_that_is_left_out_changes_no_bit(detector, tmp_path):
    with_pairs = quantized(detector, replace(CPU, carried=False), tmp_path / "pairs.onnx")
    without = quantized(detector, CPU, tmp_path / "carried.onnx")
    count = [sum(n.op_type == "QuantizeLinear" for n in onnx.load(p).graph.node) for p in (with_pairs, without)]
    assert count[1] <= count[0] - 10
    feeds = [images(300 + i, 1) for i in range(2)]
    np.testing.assert_array_equal(reference(with_pairs, feeds), reference(without, feeds))


def test_a_resize_that_interpolates_has_a_pair_of_its_own(tmp_path_factory, tmp_path):
    graph = made(tmp_path_factory, Detector("bilinear"))
    model = onnx.load(quantized(graph, CPU, tmp_path / "int8.onnx"))
    (resize,) = (node for node in model.graph.node if node.op_type == "Resize")
    assert [node.op_type for node in model.graph.node if resize.output[0] in node.input] == ["QuantizeLinear"]


def test_a_pool_behind_a_norm_moves_integers_on_openvino(tmp_path_factory, tmp_path):
    compiled = on_openvino(quantized(made(tmp_path_factory, Rectified()), CPU, tmp_path / "int8.onnx"))
    assert ("Pooling", "u8") in [(kind, precision) for kind, _, precision in layers(compiled)]


def test_tensorrt_finds_its_own_places_for_pools_and_splits(detector, tmp_path):
    model = onnx.load(quantized(detector, RTX, tmp_path / "int8.onnx"))
    splits = [node for node in model.graph.node if node.op_type == "Split"]
    dequantized = {node.output[0] for node in model.graph.node if node.op_type == "DequantizeLinear"}
    assert splits and not [node for node in splits if node.input[0] in dequantized]
