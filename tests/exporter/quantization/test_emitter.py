"""The one writer of a placement: other grids than eight bits against numpy, and switches against what is shipped."""

from dataclasses import replace

import numpy as np
import onnx
import onnxruntime as ort
import pytest
import torch
from onnx import numpy_helper
from torch import nn

from edgepress.calibration.collect import collect
from edgepress.calibration.feeds import checked
from edgepress.errors import InputError
from edgepress.exporter.capture.capture import capture
from edgepress.exporter.quantization.noise import Board
from edgepress.exporter.quantization.quantizer import Quantizer
from edgepress.exporter.quantization.switches import insert_switches, switches
from edgepress.exporter.sources import source_from_object
from edgepress.profiles.device.grid import Grid
from edgepress.profiles.device.target import load_target

CPU, X86, ARM, RTX = (load_target(name).scheme for name in ("cpu", "server-cpu", "rpi5", "rtx"))
NIBBLES = Grid(bits=4, signed=True, symmetric=True, granularity="block", block=32)
WORDS = Grid(bits=16, signed=False, symmetric=False)


class Products(nn.Module):
    """Two products over rank 3, of which the first has inputs that 32 does not divide."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.first, self.second = nn.Linear(72, 64, bias=False), nn.Linear(64, 5, bias=False)

    def forward(self, x):
        return self.second(torch.tanh(self.first(x)))


@pytest.fixture(scope="module")
def products():
    rng = np.random.default_rng(0)
    batches = [{"x": rng.normal(size=(4, 3, 72)).astype(np.float32)} for _ in range(4)]
    return source_from_object(
        Products().eval(), {"x": torch.randn(2, 3, 72)}, name="products", dynamic={"x": {0: "batch"}},
        calibration=lambda: iter(batches),
    )  # fmt: skip


def write(source, scheme, path, opset=21, lifts=()):
    graph = capture(source, opset, path.with_name("model.onnx"), {})
    quantizer = Quantizer.of(graph, scheme, lifts=lifts)
    feeds = checked(lambda: iter(source.calibration()), graph.inputs, "calibration()")
    statistics = collect(graph, quantizer.placement.observed(), feeds)
    quantizer.write(statistics, path)
    onnx.checker.check_model(str(path), full_check=True)
    return graph, statistics


def run(path, feed, **entries):
    options = ort.SessionOptions()
    options.log_severity_level = 3
    options.add_session_config_entry("session.x64quantprecision", "1")
    for name, value in entries.items():
        options.add_session_config_entry(f"session.{name}", value)
    return ort.InferenceSession(path, options, providers=["CPUExecutionProvider"]).run(None, feed)


def initializers(path):
    return {tensor.name: numpy_helper.to_array(tensor) for tensor in onnx.load(path).graph.initializer}


def rounded(x, scale, zero, grid):
    """What ONNX says of QuantizeLinear and DequantizeLinear."""
    return ((np.clip(np.rint(x / scale) + zero, grid.smallest, grid.largest) - zero) * scale).astype(np.float32)


def in_blocks(weight, grid):
    """Each column's blocks of inputs, one after the other."""
    result = np.empty_like(weight)
    for column in range(weight.shape[1]):
        for start in range(0, len(weight), grid.block):
            part = weight[start : start + grid.block, column]
            scale = np.float32(np.abs(part).max()) / np.float32(grid.largest)
            result[start : start + grid.block, column] = np.rint(part / scale) * scale
    return result


def in_columns(weight, grid):
    scale = np.abs(weight).max(axis=0) / np.float32(grid.largest)
    return np.rint(weight / scale) * scale


def reference(source, graph_path, scheme, x):
    """The quantized network in numpy: weights of the module, ranges of the written graph."""
    module, ranges = source.module, initializers(graph_path)
    first, second = (layer.weight.detach().numpy().T for layer in (module.first, module.second))
    weigh = in_blocks if scheme.weight.block else in_columns
    # Those of float weights stand behind constants.
    quantizers = [
        node
        for node in onnx.load(graph_path).graph.node
        if node.op_type == "QuantizeLinear" and node.input[0] not in ranges
    ]
    affines = {node.input[0]: (ranges[node.input[1]], ranges[node.input[2]].astype(np.int64)) for node in quantizers}
    assert len(affines) == 2
    (scale_x, zero_x), (scale_h, zero_h) = affines.pop("x"), affines.popitem()[1]
    hidden = np.tanh(rounded(x, scale_x, zero_x, scheme.activation) @ weigh(first, scheme.weight))
    return rounded(hidden, scale_h, zero_h, scheme.activation) @ weigh(second, scheme.weight)


@pytest.mark.parametrize("storage", ["integer", "float"])
@pytest.mark.parametrize(
    ("activation", "weight"),
    [(CPU.activation, NIBBLES), (WORDS, CPU.weight), (WORDS, NIBBLES)],
    ids=["int4 in blocks of 32", "uint16 activations", "both"],
)
def test_other_grids_run_and_give_what_numpy_gives(products, tmp_path, activation, weight, storage):
    scheme = replace(CPU, activation=activation, weight=weight, weight_storage=storage)
    path = tmp_path / "quantized.onnx"
    write(products, scheme, path)
    x = np.random.default_rng(5).normal(size=(6, 3, 72)).astype(np.float32)
    expected = reference(products, path, scheme, x)
    # As written: with its fusions on, onnxruntime may multiply by 4-bit weights in arithmetic of its own choice.
    found = run(path, {"x": x}, disable_quant_qdq="1")[0]
    step = np.abs(expected).max() / scheme.activation.steps
    # A hidden value on the edge between two integers may fall to either side.
    assert np.abs(found - expected).max() <= 2 * step
    assert np.median(np.abs(found - expected)) < 1e-5
    fused = run(path, {"x": x})[0]
    assert np.abs(fused - expected).max() < 0.03 * np.abs(expected).max()


def test_four_bits_are_stored_as_four(products, tmp_path):
    scheme = replace(CPU, weight=NIBBLES)
    path = tmp_path / "quantized.onnx"
    write(products, scheme, path)
    model = onnx.load(path)
    stored = [i for i in model.graph.initializer if i.name.endswith("_quantized")]
    assert [(i.data_type, list(i.dims)) for i in stored] == [(onnx.TensorProto.INT4, [72, 64]), (22, [64, 5])]
    assert [len(i.raw_data) for i in stored] == [72 * 64 // 2, 64 * 5 // 2]
    scales = {name: array.shape for name, array in initializers(path).items() if name.endswith("_scale") and array.ndim}
    assert sorted(scales.values()) == [(2, 5), (3, 64)]


def test_more_bits_are_nearer(products, tmp_path):
    feed, errors = next(iter(products.calibration())), []
    for activation, weight in [
        (CPU.activation, NIBBLES),
        (CPU.activation, CPU.weight),
        (WORDS, replace(NIBBLES, bits=16)),
    ]:
        path = tmp_path / f"{len(errors)}.onnx"
        graph, _ = write(products, replace(CPU, activation=activation, weight=weight), path)
        errors.append(np.abs(run(path, feed)[0] - run(graph.path, feed)[0]).max())
    assert errors[0] > 3 * errors[1] > 300 * errors[2]


@pytest.mark.parametrize("lifts", [("smooth",), ("equalize", "smooth", "correct-bias")])
def test_lifts_reckon_with_the_grid(residual_source, tmp_path, lifts):
    scheme = replace(RTX, weight=replace(NIBBLES, block=4))
    feed = {"image": np.random.default_rng(9).normal(size=(8, 3, 16, 16)).astype(np.float32)}
    graph, _ = write(residual_source, scheme, tmp_path / "plain.onnx")
    write(residual_source, scheme, tmp_path / "lifted.onnx", lifts=lifts)
    exact = run(graph.path, feed)[0]
    plain, lifted = (np.square(run(tmp_path / name, feed)[0] - exact).sum() for name in ("plain.onnx", "lifted.onnx"))
    assert lifted < 1.3 * plain
    assert plain < 0.2 * np.square(exact).sum()


def test_a_graph_whose_opset_has_no_such_integers_is_refused(products, tmp_path):
    with pytest.raises(InputError, match=r"int4 in blocks of 32\) needs ONNX opset 21; the graph has 20"):
        write(products, replace(CPU, weight=NIBBLES), tmp_path / "quantized.onnx", opset=20)


class Biased(nn.Module):
    """Two convolutions and a product with biases; one channel's weights are tiny against its bias."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(1)
        self.first, self.second = nn.Conv2d(3, 8, 3, padding=1), nn.Conv2d(8, 8, 3)
        self.head = nn.Linear(8, 5)
        with torch.no_grad():
            self.first.weight[2] *= 1e-9  # type: ignore[operator]
            self.first.bias[2] = 4.0  # type: ignore[index]

    def forward(self, x):
        x = torch.relu(self.second(torch.relu(self.first(x))))
        return self.head(x.mean((2, 3)))


@pytest.fixture(scope="module")
def biased():
    rng = np.random.default_rng(0)
    batches = [{"x": rng.normal(size=(4, 3, 8, 8)).astype(np.float32)} for _ in range(4)]
    return source_from_object(
        Biased().eval(), {"x": torch.randn(2, 3, 8, 8)}, name="biased", dynamic={"x": {0: "batch"}},
        calibration=lambda: iter(batches),
    )  # fmt: skip


@pytest.mark.parametrize("lifts", [(), ("equalize", "correct-bias")], ids=["no lifts", "corrected biases"])
@pytest.mark.parametrize("scheme", [X86, ARM, CPU, RTX], ids=lambda scheme: scheme.name)
def test_all_switches_on_are_the_graph_that_is_shipped(biased, tmp_path, scheme, lifts):
    path = tmp_path / "int8.onnx"
    graph, statistics = write(biased, scheme, path, opset=20, lifts=lifts)
    feed = {"x": np.random.default_rng(3).normal(size=(16, 3, 8, 8)).astype(np.float32)}
    stored = {array.dtype for array in initializers(path).values()}
    assert (np.dtype(np.int32) in stored) == (scheme.bias == "int32")
    with Board(Quantizer.of(graph, scheme, lifts=lifts), graph, statistics, tmp_path) as board:
        found = board.run(board.switches, feed, board.outputs)["output"]
        none = board.run((), feed, board.outputs)["output"]
    shipped = run(path, feed, disable_quant_qdq="1")[0]
    np.testing.assert_array_equal(found, shipped)
    exact = run(graph.path, feed)[0]
    assert np.abs(none - exact).max() < 1e-5 < np.abs(shipped - exact).max()


def test_the_bias_goes_with_its_weight(biased, tmp_path):
    """One layer on is the graph with all others left float: weight, widened scale, int32 bias and activation."""
    graph, statistics = write(biased, X86, tmp_path / "int8.onnx", opset=20)
    feed = {"x": np.random.default_rng(3).normal(size=(16, 3, 8, 8)).astype(np.float32)}
    with Board(Quantizer.of(graph, X86, lifts=()), graph, statistics, tmp_path) as board:
        for layer in board.layers:
            others = tuple(name for name in board.layers if name != layer)
            alone = Quantizer.of(graph, X86, others, lifts=())
            on = switches(alone.placement)
            alone.write(statistics, tmp_path / "alone.onnx")
            found = board.run(on, feed, board.outputs)["output"]
            # Between float layers one has no Q/DQ and the other has them switched off: floats add up otherwise.
            np.testing.assert_allclose(
                found, run(tmp_path / "alone.onnx", feed, disable_quant_qdq="1")[0], rtol=0, atol=5e-7
            )


def test_a_quantizer_with_switches_writes_the_nodes_that_are_shipped(biased, tmp_path):
    graph, statistics = write(biased, X86, tmp_path / "int8.onnx", opset=20)
    quantizer = Quantizer.of(graph, X86, lifts=())
    quantizer.lift(statistics)
    insert_switches(quantizer.model.graph, quantizer.placement, X86, quantizer.affines, quantizer.biases, {})
    shipped = [node.name for node in onnx.load(tmp_path / "int8.onnx").graph.node]
    switched = [node.name for node in quantizer.model.graph if node.op_type not in ("Gather", "Where")]
    assert switched == shipped


def test_a_switched_layer_reads_constant_weights_either_way(biased, tmp_path):
    """A Where between weights would copy all of them at every run, and hide from the runtime that they are constant."""
    graph, statistics = write(biased, X86, tmp_path / "int8.onnx", opset=20)
    quantizer = Quantizer.of(graph, X86, lifts=())
    quantizer.lift(statistics)
    layers = [str(site.node.name) for site in quantizer.placement.weights]
    insert_switches(quantizer.model.graph, quantizer.placement, X86, quantizer.affines, quantizer.biases, {})
    nodes = {str(node.name): node for node in quantizer.model.graph}
    assert all(nodes[name].op_type == "If" for name in layers)
    for where in (node for node in quantizer.model.graph if node.op_type == "Where"):
        rounded, plain = where.inputs[1].producer(), where.inputs[2]
        assert rounded.op_type == "DequantizeLinear" and not plain.is_initializer(), plain
