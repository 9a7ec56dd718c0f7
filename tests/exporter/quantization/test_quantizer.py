"""Q/DQ placement and insertion, judged on the graph, on onnxruntime's kernels and on the numbers."""

from collections import Counter

import numpy as np
import onnx
import onnx_ir as ir
import onnxruntime as ort
import pytest
import torch

from edgepress.calibration.collect import collect
from edgepress.calibration.feeds import checked
from edgepress.errors import InputError
from edgepress.exporter.capture.capture import capture
from edgepress.exporter.quantization.analysis.placement import place
from edgepress.exporter.quantization.quantizer import Quantizer
from edgepress.exporter.sources import source_from_object
from edgepress.profiles.device.target import load_target

from ._int8 import opened

SCHEMES = {name: load_target(name).scheme for name in ("cpu", "server-cpu", "rpi5", "rtx")}


def quantized(graph, source, scheme, path, exclude=()):
    quantizer = Quantizer.of(graph, scheme, exclude)
    feeds = checked(lambda: iter(source.calibration()), graph.inputs, "calibration()")
    quantizer.write(collect(graph, quantizer.placement.observed(), feeds), path)
    onnx.checker.check_model(str(path), full_check=True)
    return quantizer.placement, onnx.load(path)


def producers(model):
    return {output: node for node in model.graph.node for output in node.output}


def reads_quantized(model, node, index, moved=()):
    """The DequantizeLinear that feeds this input, through these operators perhaps; None where it is float."""
    source = producers(model).get(node.input[index])
    while source is not None and source.op_type in moved:
        source = producers(model).get(source.input[0])
    return source if source is not None and source.op_type == "DequantizeLinear" else None


def nodes(model, operator):
    return [node for node in model.graph.node if node.op_type == operator]


@pytest.mark.parametrize("name", SCHEMES)
def test_every_weighted_operator_reads_int8_and_the_result_stays_close(residual_graph, residual_source, tmp_path, name):
    path = tmp_path / "int8.onnx"
    placement, model = quantized(residual_graph, residual_source, SCHEMES[name], path)
    weighted = nodes(model, "Conv") + nodes(model, "Gemm")
    assert len(weighted) == 5 and not placement.left
    moved = SCHEMES[name].keep_scale if SCHEMES[name].carried else ()
    assert all(reads_quantized(model, node, 0, moved) and reads_quantized(model, node, 1) for node in weighted)

    feed = {"image": np.random.default_rng(9).normal(size=(8, 3, 16, 16)).astype(np.float32)}
    expected = opened(residual_graph.path).run(None, feed)[0]
    found = opened(path).run(None, feed)[0]
    noise = expected - found
    # A misplaced scale or a wrong channel axis costs tens of dB; these graphs reach 36 to 41 dB.
    assert 10 * np.log10((expected**2).sum() / (noise**2).sum()) > 30


def test_onnxruntime_runs_the_x86_graph_in_integers_throughout(residual_graph, residual_source, tmp_path):
    quantized(residual_graph, residual_source, SCHEMES["server-cpu"], tmp_path / "int8.onnx")
    options = ort.SessionOptions()
    options.optimized_model_filepath = str(tmp_path / "optimized.onnx")
    options.log_severity_level = 3
    ort.InferenceSession(tmp_path / "int8.onnx", options)
    kernels = Counter(node.op_type for node in onnx.load(tmp_path / "optimized.onnx").graph.node)
    assert kernels["QLinearConv"] == 4 and kernels["QGemm"] == 1 and kernels["QLinearAdd"] == 2
    assert kernels["QLinearGlobalAveragePool"] == 1
    assert not {"Conv", "FusedConv", "Gemm", "Add", "Relu", "Clip"} & set(kernels)


def test_tensorrt_quantizes_the_skip_branch_only_and_no_convolution_output(residual_graph, residual_source, tmp_path):
    _, model = quantized(residual_graph, residual_source, SCHEMES["rtx"], tmp_path / "int8.onnx")
    for add in nodes(model, "Add"):
        sides = [reads_quantized(model, add, i) is not None for i in (0, 1)]
        assert sorted(sides) == [False, True]
        fused = add.input[sides.index(False)]
        assert producers(model)[fused].op_type == "Conv", (
            "the convolution that fuses with the Add must feed it directly"
        )
    zero_points = [i for i in model.graph.initializer if "zero_point" in i.name]
    assert all(not onnx.numpy_helper.to_array(z).any() for z in zero_points)
    assert all(z.data_type == onnx.TensorProto.INT8 for z in zero_points)


def test_tensorrt_gets_no_quantized_bias(residual_graph, residual_source, tmp_path):
    _, model = quantized(residual_graph, residual_source, SCHEMES["rtx"], tmp_path / "int8.onnx")
    assert not any(i.data_type == onnx.TensorProto.INT32 for i in model.graph.initializer)


def test_pooling_keeps_the_scale_of_its_input(residual_graph, residual_source, tmp_path):
    _, model = quantized(residual_graph, residual_source, SCHEMES["server-cpu"], tmp_path / "int8.onnx")
    pool = nodes(model, "MaxPool")[0]
    before = reads_quantized(model, pool, 0)
    (after,) = [n for n in nodes(model, "QuantizeLinear") if n.input[0] == pool.output[0]]
    values = {i.name: onnx.numpy_helper.to_array(i) for i in model.graph.initializer}
    assert values[before.input[1]] == values[after.input[1]] and values[before.input[2]] == values[after.input[2]]


def test_excluded_layers_stay_float_with_their_weights_untouched(residual_graph, residual_source, tmp_path):
    original = {i.name: i for i in onnx.load(residual_graph.path).graph.initializer}
    placement, model = quantized(
        residual_graph, residual_source, SCHEMES["cpu"], tmp_path / "int8.onnx", exclude=("Gemm",)
    )
    (gemm,) = nodes(model, "Gemm")
    assert placement.left == {gemm.name: "excluded by the user"}
    kept = {i.name: i for i in model.graph.initializer}[gemm.input[1]]
    assert kept == original[gemm.input[1]]


def test_a_channel_with_tiny_weights_and_a_large_bias_does_not_wrap_in_int32(tmp_path):
    import torch

    from edgepress.exporter.capture.capture import capture
    from edgepress.exporter.sources import source_from_object

    layer = torch.nn.Linear(4, 2)
    with torch.no_grad():
        layer.weight[0] *= 1e-12
        layer.bias[0] = 5.0
    rng = np.random.default_rng(0)
    data = [{"input": rng.normal(size=(16, 4)).astype(np.float32)}]
    source = source_from_object(
        layer, {"input": torch.randn(2, 4)}, name="tiny", dynamic={"input": {0: "n"}}, calibration=lambda: iter(data)
    )
    graph = capture(source, 20, tmp_path / "model.onnx", {})
    quantized(graph, source, SCHEMES["server-cpu"], tmp_path / "int8.onnx")
    found = opened(tmp_path / "int8.onnx").run(None, data[0])[0]
    expected = opened(graph.path).run(None, data[0])[0]
    np.testing.assert_allclose(found[:, 0], 5.0, atol=0.01)
    np.testing.assert_allclose(found, expected, atol=0.03)


def test_a_graph_output_that_is_quantized_keeps_its_name(tmp_path):
    import torch

    from edgepress.exporter.capture.capture import capture
    from edgepress.exporter.sources import source_from_object

    torch.manual_seed(0)
    data = [{"input": np.random.default_rng(0).normal(size=(4, 3, 8, 8)).astype(np.float32)}]
    source = source_from_object(
        torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3), torch.nn.ReLU()),
        {"input": torch.randn(2, 3, 8, 8)},
        name="segment",
        dynamic={"input": {0: "n"}},
        calibration=lambda: iter(data),
    )
    graph = capture(source, 20, tmp_path / "model.onnx", {})
    _, model = quantized(graph, source, SCHEMES["server-cpu"], tmp_path / "int8.onnx")
    assert [o.name for o in model.graph.output] == ["output"]
    found = opened(tmp_path / "int8.onnx").run(["output"], data[0])[0]
    expected = opened(graph.path).run(["output"], data[0])[0]
    assert np.abs(found - expected).max() < 0.05


def test_a_transformer_gets_int8_matmuls_and_nothing_else(tmp_path):
    import torch

    from edgepress.exporter.capture.capture import capture
    from edgepress.exporter.sources import source_from_object

    class Encoder(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.embed = torch.nn.Embedding(50, 16)
            self.query, self.key, self.value, self.out = (torch.nn.Linear(16, 16) for _ in range(4))
            self.norm = torch.nn.LayerNorm(16)
            self.up, self.down = torch.nn.Linear(16, 64), torch.nn.Linear(64, 16)

        def forward(self, ids):
            x = self.embed(ids)
            scores = self.query(x) @ self.key(x).transpose(1, 2) / 4
            x = self.norm(x + self.out(scores.softmax(-1) @ self.value(x)))
            return x + self.down(torch.nn.functional.gelu(self.up(x)))

    torch.manual_seed(0)
    data = [{"ids": np.random.default_rng(0).integers(0, 50, (4, 7))}]
    source = source_from_object(
        Encoder(),
        {"ids": torch.randint(0, 50, (2, 6))},
        name="encoder",
        dynamic={"ids": {0: "batch", 1: "length"}},
        calibration=lambda: iter(data),
    )
    graph = capture(source, 20, tmp_path / "model.onnx", {})
    for scheme in SCHEMES.values():
        placement, model = quantized(graph, source, scheme, tmp_path / "int8.onnx")
        readers = Counter(
            consumer.op_type
            for dq in nodes(model, "DequantizeLinear")
            for consumer in model.graph.node
            if dq.output[0] in consumer.input
        )
        assert set(readers) == {"MatMul"}, scheme.name
        assert len(placement.weights) == 6
        assert sorted(placement.left.values()) == ["both operands are activations (no constant weight)"] * 2


class Patches(torch.nn.Module):
    """How a ViT begins: patches by a convolution, reshaped to tokens, positions added, normed, multiplied."""

    def __init__(self):
        super().__init__()
        self.patch = torch.nn.Conv2d(3, 8, 4, stride=4)
        self.position = torch.nn.Parameter(torch.randn(1, 4, 8))
        self.norm, self.head = torch.nn.LayerNorm(8), torch.nn.Linear(8, 3)

    def forward(self, image):
        tokens = self.patch(image).flatten(2).transpose(1, 2) + self.position
        return self.head(self.norm(tokens))


def test_the_tokens_of_a_vit_stay_float(tmp_path):
    torch.manual_seed(0)
    data = [{"image": np.random.default_rng(0).normal(size=(4, 3, 8, 8)).astype(np.float32)}]
    source = source_from_object(
        Patches(), {"image": torch.randn(2, 3, 8, 8)}, dynamic={"image": {0: "n"}}, calibration=lambda: iter(data)
    )
    graph = capture(source, 20, tmp_path / "model.onnx", {})
    # OpenVINO runs a convolution in integers whatever becomes of its result. onnxruntime does not: on x86 it becomes a
    # Gemm over patches, on ARM it stays float.
    for name, operator, integer in (("cpu", "Conv", True), ("server-cpu", "Gemm", True), ("rpi5", "Conv", False)):
        placement, model = quantized(graph, source, SCHEMES[name], tmp_path / "int8.onnx")
        patch = nodes(model, operator)[0]
        assert (reads_quantized(model, patch, 0) is not None) == integer
        (add,) = [n for n in nodes(model, "Add") if any("position" in i for i in n.input)]
        assert not any(reads_quantized(model, add, i) for i in (0, 1))
        assert any("residual stream" in why for why in placement.left.values()) == (not integer)


class Distances(torch.nn.Module):
    """Rows of features and the distances between them: torch joins squares and ones to them, and multiplies."""

    def __init__(self):
        super().__init__()
        self.features = torch.nn.Conv2d(3, 8, 3, padding=1)

    def forward(self, image):
        rows = self.features(image).flatten(2)
        return torch.cdist(rows, rows)


@pytest.mark.parametrize("name", ["cpu", "server-cpu", "rpi5"])
def test_features_whose_distances_are_asked_are_no_tokens(name, tmp_path):
    torch.manual_seed(0)
    data = [{"image": np.random.default_rng(0).normal(size=(4, 3, 8, 8)).astype(np.float32)}]
    source = source_from_object(
        Distances(), {"image": torch.randn(2, 3, 8, 8)}, dynamic={"image": {0: "n"}}, calibration=lambda: iter(data)
    )
    # Only the tracing exporter has this operator.
    graph = capture(source, 17, tmp_path / "model.onnx", {}, tracing=True)
    placement, model = quantized(graph, source, SCHEMES[name], tmp_path / "int8.onnx")
    assert reads_quantized(model, nodes(model, "Conv")[0], 0) is not None
    assert set(placement.left.values()) == {"both operands are activations (no constant weight)"}


def test_inf_inside_the_model_names_the_tensor_and_the_sample(tmp_path):
    import torch

    from edgepress.exporter.capture.capture import capture
    from edgepress.exporter.sources import source_from_object

    first, second = torch.nn.Linear(3, 3), torch.nn.Linear(3, 2)
    with torch.no_grad():
        first.weight.fill_(2.0)
    source = source_from_object(
        torch.nn.Sequential(first, second), {"input": torch.randn(2, 3)}, name="m", dynamic={"input": {0: "n"}}
    )
    graph = capture(source, 20, tmp_path / "model.onnx", {})
    feeds = [{"input": np.full((4, 3), 1, np.float32)}, {"input": np.full((4, 3), 1, np.float32)}]
    feeds[1]["input"][2] = 3e38
    observed = dict.fromkeys(str(v.name) for v in place(ir.load(graph.path).graph, SCHEMES["cpu"]).edges)
    with pytest.raises(InputError, match=r"tensor '.+' became NaN or Inf at calibration sample 6"):
        collect(graph, observed, lambda: iter(feeds))


def test_statistics_do_not_depend_on_how_the_data_are_batched(residual_graph, residual_source):
    model = ir.load(residual_graph.path)
    observed = dict.fromkeys(str(v.name) for v in place(model.graph, SCHEMES["cpu"]).edges)
    whole = list(residual_source.calibration())
    single = [{"image": sample[None]} for batch in whole for sample in batch["image"]]
    a = collect(residual_graph, observed, lambda: iter(whole))
    b = collect(residual_graph, observed, lambda: iter(single))
    assert a.samples == b.samples == 16
    for name, state in a.tensors.items():
        # kernels of another batch size may round differently in the last bit
        assert state.count == b.tensors[name].count
        np.testing.assert_allclose(
            [state.minimum, state.maximum], [b.tensors[name].minimum, b.tensors[name].maximum], rtol=1e-5, atol=1e-6
        )
