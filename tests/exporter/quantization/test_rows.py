"""Gemm over rows and over patches, and scales folded into what makes a tensor: the float function stays the same."""

from collections import Counter
from dataclasses import replace

import numpy as np
import onnx
import onnx_ir as ir
import onnxruntime as ort
import pytest
import torch
from torch import nn

from edgepress.calibration.affine import affine
from edgepress.calibration.collect import collect
from edgepress.calibration.feeds import checked
from edgepress.exporter.capture.capture import capture
from edgepress.exporter.quantization.analysis.placement import place
from edgepress.exporter.quantization.lifts import smooth
from edgepress.exporter.quantization.quantizer import Quantizer
from edgepress.exporter.quantization.rewrites.rows_to_gemm import rows_to_gemm
from edgepress.exporter.sources import load_source, source_from_object
from edgepress.profiles.device.target import load_target

from ._int8 import opened

ROWS = load_target("server-cpu").scheme
OPSET = 20


class Encoder(nn.Module):
    """Two post-norm layers as in BERT, or pre-norm ones with one weight for query, key and value as in a ViT."""

    def __init__(self, joint):
        super().__init__()
        self.embed, self.joint = nn.Embedding(50, 24), joint
        sizes = [72] if joint else [24, 24, 24]
        self.inputs = nn.ModuleList(nn.ModuleList(nn.Linear(24, n) for n in sizes) for _ in range(2))
        self.outs, self.ups, self.downs = (
            nn.ModuleList(nn.Linear(a, b) for _ in range(2)) for a, b in ((24, 24), (24, 48), (48, 24))
        )
        self.norms = nn.ModuleList(nn.LayerNorm(24) for _ in range(4))
        with torch.no_grad():  # outlier channels, as trained transformers have them
            for linear in [x for group in self.inputs for x in group]:
                linear.weight[5::24] *= 20
            for norm in self.norms:
                norm.weight[3] *= 30

    def attend(self, x, layer):
        batch, length, _ = x.shape
        if self.joint:
            parts = self.inputs[layer][0](x).view(batch, length, 3, 4, 6).permute(2, 0, 3, 1, 4).unbind(0)
        else:
            parts = [linear(x).view(batch, length, 4, 6).transpose(1, 2) for linear in self.inputs[layer]]
        query, key, value = parts
        mixed = (query @ key.transpose(2, 3) / 40).softmax(-1) @ value
        return self.outs[layer](mixed.transpose(1, 2).reshape(batch, length, 24))

    def forward(self, ids):
        x = self.embed(ids)
        for i in range(2):
            if self.joint:
                x = x + self.attend(self.norms[2 * i](x), i)
                x = x + self.downs[i](nn.functional.gelu(self.ups[i](self.norms[2 * i + 1](x))))
            else:
                x = self.norms[2 * i](x + self.attend(x, i))
                x = self.norms[2 * i + 1](x + self.downs[i](torch.relu(self.ups[i](x))))
        return x, x.mean(1)


@pytest.fixture(scope="module", params=[False, True], ids=["bert", "vit"])
def encoder(request, tmp_path_factory):
    torch.manual_seed(0)
    rng = np.random.default_rng(0)
    data = [{"ids": rng.integers(0, 50, (4, 7))} for _ in range(4)]
    source = source_from_object(
        Encoder(request.param).eval(),
        {"ids": torch.randint(0, 50, (2, 6))},
        name="encoder",
        dynamic={"ids": {0: "batch", 1: "length"}},
        calibration=lambda: iter(data),
    )
    return source, capture(source, OPSET, tmp_path_factory.mktemp("encoder") / "model.onnx", {})


def run(path, feed):
    return opened(path).run(None, feed)


def save(model, path):
    ir.save(model, path)
    onnx.checker.check_model(str(path), full_check=True)
    return path


def operators(path):
    return Counter(node.op_type for node in onnx.load(path).graph.node)


def statistics_of(source, graph, quantizer):
    feeds = checked(lambda: iter(source.calibration()), graph.inputs, "calibration()")
    return collect(graph, quantizer.placement.observed(), feeds)


def assert_same(expected, found):
    for a, b in zip(expected, found, strict=True):
        assert a.shape == b.shape
        np.testing.assert_allclose(b, a, rtol=0, atol=1e-5 * np.abs(a).max())


def test_linear_layers_become_gemms_and_compute_the_same_at_every_size(encoder, tmp_path):
    source, graph = encoder
    model = ir.load(graph.path)
    weights = sum(isinstance(m, nn.Linear) for m in source.module.modules())
    assert rows_to_gemm(model) == weights
    path = save(model, tmp_path / "rows.onnx")
    assert operators(path)["Gemm"] == weights and operators(path)["MatMul"] == 4
    assert [o.name for o in onnx.load(path).graph.output] == [o.name for o in onnx.load(graph.path).graph.output]
    for shape in ((1, 1), (1, 9), (3, 5)):
        feed = {"ids": np.random.default_rng(1).integers(0, 50, shape)}
        assert_same(run(graph.path, feed), run(path, feed))


def test_the_rewritten_graph_observes_tensors_of_the_captured_one(encoder):
    _, graph = encoder
    known = {str(value.name) for node in ir.load(graph.path).graph for value in node.outputs}
    assert set(Quantizer.of(graph, ROWS).placement.observed()) <= known


def test_an_output_that_is_read_again_keeps_its_name_and_its_statistics(tmp_path):
    """The hidden states of an encoder that are returned beside what a decoder makes of them."""

    class Twice(nn.Module):
        def __init__(self):
            super().__init__()
            self.norm = nn.LayerNorm(24)
            self.first = nn.ModuleList(nn.Linear(24, 24) for _ in range(5))
            self.second = nn.ModuleList(nn.Linear(24, 24) for _ in range(5))

        def forward(self, x):
            for layer in self.first:
                x = x + torch.relu(layer(x))
            states = x = self.norm(x)
            for layer in self.second:
                x = x + torch.relu(layer(x))
            return states, x

    torch.manual_seed(0)
    data = [{"x": np.random.default_rng(i).standard_normal((4, 7, 24), np.float32)} for i in range(2)]
    source = source_from_object(
        Twice().eval(), {"x": torch.randn(2, 6, 24)}, name="twice", dynamic={"x": {0: "batch", 1: "length"}},
        calibration=lambda: iter(data),
    )  # fmt: skip
    graph = capture(source, OPSET, tmp_path / "model.onnx", {})
    quantizer = Quantizer.of(graph, ROWS)
    quantizer.write(statistics_of(source, graph, quantizer), tmp_path / "int8.onnx")
    assert [o.name for o in onnx.load(tmp_path / "int8.onnx").graph.output] == [o.name for o in graph.outputs]
    for wanted, found in zip(run(graph.path, data[0]), run(tmp_path / "int8.onnx", data[0]), strict=True):
        assert 10 * np.log10((wanted**2).sum() / ((found - wanted) ** 2).sum()) > 25


def test_a_lone_linear_layer_is_not_worth_the_reshapes(tmp_path):
    source = source_from_object(
        nn.Sequential(nn.Softmax(-1), nn.Linear(4, 4), nn.Softmax(1)), {"input": torch.randn(2, 3, 4)}, name="lone"
    )
    model = ir.load(capture(source, OPSET, tmp_path / "model.onnx", {}).path)
    before = [node.op_type for node in model.graph]
    assert rows_to_gemm(model) == 0
    assert [node.op_type for node in model.graph] == before


def test_smoothing_folds_through_attention_and_keeps_the_float_function(encoder, tmp_path):
    source, graph = encoder
    quantizer = Quantizer.of(graph, ROWS)
    statistics = statistics_of(source, graph, quantizer)
    model = quantizer.model
    lifted = smooth.lift(model.graph, quantizer.placement, statistics.tensors, ROWS)
    assert lifted.note
    # What the output projection reads is divided in the weights that make the values, without a Mul.
    projections = [node for node in model.graph if node.op_type == "Gemm" and "outs" in str(node.name)]
    assert len(projections) == 2
    for node in projections:
        assert node.inputs[0].producer().op_type == "Reshape"
        assert node.inputs[0].name in lifted.factors and "smoothed" in node.inputs[1].name
    path = save(model, tmp_path / "smooth.onnx")
    for shape in ((1, 4), (2, 8)):
        feed = {"ids": np.random.default_rng(2).integers(0, 50, shape)}
        assert_same(run(graph.path, feed), run(path, feed))


def test_int8_runs_on_integer_gemms_only_and_is_as_close_as_with_matmul(encoder, tmp_path):
    source, graph = encoder
    feed = {"ids": np.random.default_rng(3).integers(0, 50, (8, 7))}
    noise = {}
    for rows in (True, False):
        quantizer = Quantizer.of(graph, replace(ROWS, rows=rows), lifts=("smooth",))
        path = tmp_path / f"{rows}.onnx"
        quantizer.write(statistics_of(source, graph, quantizer), path)
        onnx.checker.check_model(str(path), full_check=True)
        pairs = zip(run(graph.path, feed), run(path, feed), strict=True)
        noise[rows] = [10 * np.log10(np.square(a - b).sum() / np.square(a).sum()) for a, b in pairs]
    assert np.abs(np.subtract(noise[True], noise[False])).max() < 1
    options = ort.SessionOptions()
    options.optimized_model_filepath = str(tmp_path / "optimized.onnx")
    options.log_severity_level = 3
    ort.InferenceSession(tmp_path / "True.onnx", options)
    kernels = operators(tmp_path / "optimized.onnx")
    assert kernels["QGemm"] == len(quantizer.placement.weights) and not kernels["Gemm"]
    assert not kernels["SkipLayerNormalization"] and not kernels["MatMulIntegerToFloat"]


@pytest.mark.parametrize("pattern", ["MatMul", "*ups*"])
def test_a_pattern_excludes_what_it_names_in_the_captured_graph(encoder, pattern):
    _, graph = encoder
    linear = [node for node in ir.load(graph.path).graph if node.op_type == "MatMul"]
    meant = [n.name for n in linear if pattern == "MatMul" or "ups" in n.name]
    placement = Quantizer.of(graph, ROWS, exclude=(pattern,)).placement
    assert {name for name, why in placement.left.items() if why == "excluded by the user"} <= set(meant)
    assert not {site.node.name for site in placement.weights} & set(meant)
    assert len(placement.weights) == (0 if pattern == "MatMul" else len(linear) - 4 - 2)


class Tokens(nn.Module):
    """Patches by a convolution, as tokens with a learned position, normed and multiplied."""

    def __init__(self, conv, flat):
        super().__init__()
        self.patch, self.flat = conv, flat
        height, width = conv(torch.zeros(1, 3, 16, 20)).shape[2:]
        self.position = nn.Parameter(torch.randn(1, height * width, 6))
        self.norm, self.head = nn.LayerNorm(6), nn.Linear(6, 3)

    def forward(self, image):
        x = self.patch(image)
        if self.flat:
            return self.head(self.norm(x.flatten(2).transpose(1, 2) + self.position))
        return self.head(self.norm(x.permute(0, 2, 3, 1).flatten(1, 2) + self.position))


CONVOLUTIONS = {
    "tiles": {"kernel_size": 4, "stride": 4},
    "tiles without a bias": {"kernel_size": 4, "stride": 4, "bias": False},
    "tiles that leave a border": {"kernel_size": 3, "stride": 3},
    "padded": {"kernel_size": 4, "stride": 4, "padding": 2},
    "overlapping": {"kernel_size": (8, 6), "stride": (4, 4), "padding": (2, 3)},
    "dilated": {"kernel_size": 3, "stride": 4, "dilation": 2},
}


@pytest.mark.parametrize("flat", [True, False])
@pytest.mark.parametrize("settings", CONVOLUTIONS.values(), ids=CONVOLUTIONS)
def test_a_patch_convolution_as_gemm_computes_what_its_qdq_convolution_does(settings, flat, tmp_path):
    torch.manual_seed(0)
    rng = np.random.default_rng(0)
    data = [{"image": rng.normal(0.3, 1, size=(4, 3, 16, 20)).astype(np.float32)}]
    source = source_from_object(
        Tokens(nn.Conv2d(3, 6, **settings), flat).eval(),
        {"image": torch.randn(2, 3, 16, 20)},
        name="tokens",
        dynamic={"image": {0: "n"}},
        calibration=lambda: iter(data),
    )
    graph = capture(source, OPSET, tmp_path / "model.onnx", {})
    for name, scheme in (("gemm", ROWS), ("conv", replace(ROWS, rows=False, result_needed=False))):
        quantizer = Quantizer.of(graph, scheme)
        assert not quantizer.placement.left
        quantizer.write(statistics_of(source, graph, quantizer), tmp_path / f"{name}.onnx")
        onnx.checker.check_model(str(tmp_path / f"{name}.onnx"), full_check=True)
    assert operators(tmp_path / "conv.onnx")["Conv"] == 1 and operators(tmp_path / "gemm.onnx")["Conv"] == 0
    for size in (1, 5):
        feed = {"image": rng.normal(0.3, 1, size=(size, 3, 16, 20)).astype(np.float32)}
        expected, found = run(tmp_path / "conv.onnx", feed)[0], run(tmp_path / "gemm.onnx", feed)[0]
        # A rounding of the last bit before the second quantization may move a value by one of its steps.
        assert np.median(np.abs(expected - found)) < 1e-5 * np.abs(expected).max()
        np.testing.assert_allclose(found, expected, atol=0.02 * np.abs(expected).max())


@pytest.mark.parametrize("settings", [{"kernel_size": 3, "padding": 1}, {"kernel_size": 3, "stride": 3, "groups": 3}])
def test_a_convolution_that_copies_pixels_often_or_is_grouped_stays_float(settings, tmp_path):
    source = source_from_object(
        Tokens(nn.Conv2d(3, 6, **settings), True).eval(), {"image": torch.randn(2, 3, 16, 20)}, name="tokens"
    )
    model = ir.load(capture(source, OPSET, tmp_path / "model.onnx", {}).path)
    placement = place(model.graph, ROWS)
    assert not placement.patches
    assert ["residual stream" in why for why in placement.left.values()] == [True]


@pytest.mark.slow
@pytest.mark.parametrize(("name", "gemms"), [("vit", 16), ("minilm", 36)])
def test_the_examples_compute_the_same_over_rows(name, gemms, examples, tmp_path):
    source = load_source(str(examples / f"{name}.py"))
    graph = capture(source, OPSET, tmp_path / "model.onnx", {})
    model = ir.load(graph.path)
    assert rows_to_gemm(model) == gemms
    path = save(model, tmp_path / "rows.onnx")
    feed = {tensor: array[:3] for tensor, array in source.inputs.items()}
    assert_same(run(graph.path, feed), run(path, feed))


def test_what_a_product_reads_has_the_same_range_as_rows_and_as_tokens(encoder):
    # Once it was a Gemm, its input had the range of least squared error, which cuts the few large channels.
    source, graph = encoder
    as_rows, as_tokens = (Quantizer.of(graph, replace(ROWS, rows=rows), lifts=()) for rows in (True, False))
    statistics = statistics_of(source, graph, as_rows)
    found, expected = (quantizer.ranges(statistics.tensors) for quantizer in (as_rows, as_tokens))
    read = {str(node.inputs[0].name) for node in as_rows.model.graph if node.op_type == "Gemm"}
    assert len(read & expected.keys()) >= 4
    assert {name: found[name] for name in read & expected.keys()} == {
        name: expected[name] for name in read & expected.keys()
    }
    for name in read & expected.keys():
        state = statistics.tensors[name]
        assert found[name] == affine(min(0.0, state.minimum), max(0.0, state.maximum), ROWS.activation)
