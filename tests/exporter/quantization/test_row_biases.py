"""Linear layers over tokens are products of integers on onnxruntime where every size is a number, too."""

from collections import Counter
from dataclasses import replace

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from onnx import helper

from edgepress.calibration.affine import affine
from edgepress.calibration.collect import collect
from edgepress.calibration.feeds import checked
from edgepress.exporter.graphs.files import read_graph
from edgepress.exporter.quantization.quantizer import Quantizer

from ._int8 import SCHEMES, array, decibel, floats, model_of, normal, run, to_int8, weight

TOKENS = (1, 5, 16)


def layer(rank3=True, opset=17):
    """A linear layer that nothing row-wise is around: as Gemm it would cost more reshapes than additions vanish."""
    shape = TOKENS if rank3 else (5, 16)
    nodes = [
        helper.make_node("MatMul", ["x", "w"], ["p"], "linear"),
        helper.make_node("Add", ["p", "b"], ["y"], "bias"),
    ]
    result = (*shape[:-1], 24)
    return model_of(nodes, [floats("x", *shape)], [floats("y", *result)], [weight("w", 16, 24), weight("b", 24)], opset)


def kernels(path, directory):
    options = ort.SessionOptions()
    options.optimized_model_filepath = str(directory / "optimized.onnx")
    options.log_severity_level = 3
    ort.InferenceSession(path, options)
    return Counter(node.op_type for node in onnx.load(directory / "optimized.onnx").graph.node)


@pytest.mark.parametrize("name", ["server-cpu", "mobile"])
def test_a_bias_is_one_row_and_the_product_stays_one_of_integers(tmp_path, name):
    batches = normal(TOKENS)
    _, _, source, path = to_int8(layer(), name, batches, tmp_path)
    found = kernels(path, tmp_path)
    assert found["MatMulIntegerToFloat"] == 1 and not found["Gemm"] and not found["DequantizeLinear"]
    assert decibel(run(source, batches[0]), run(path, batches[0])) > 30


def test_without_it_onnxruntime_makes_floats_of_both(tmp_path, monkeypatch):
    """Why the scheme says so: should this fail with another version, the scheme may say otherwise."""
    monkeypatch.setitem(SCHEMES, "server-cpu", replace(SCHEMES["server-cpu"], row_biases=False))
    *_, path = to_int8(layer(), "server-cpu", normal(TOKENS), tmp_path)
    found = kernels(path, tmp_path)
    assert found["Gemm"] == 1 and not found["MatMulIntegerToFloat"]


def gated(operator, **attributes):
    nodes = [
        helper.make_node("Conv", ["x", "w", "b"], ["c"], "conv", pads=[1] * 4),
        helper.make_node(operator, ["c"], ["h"], "gate", **attributes),
        helper.make_node("Conv", ["h", "v"], ["y"], "last"),
    ]
    weights = [weight("w", 8, 3, 3, 3, scale=1.0), array("b", np.full(8, -4, np.float32)), weight("v", 4, 8, 1, 1)]
    return model_of(nodes, [floats("x", 2, 3, 8, 8)], [floats("y", 2, 4, 8, 8)], weights)


def ranges(model, directory, name="server-cpu", method="min-max"):
    onnx.save(model, directory / "float.onnx")
    graph = read_graph(directory / "float.onnx")
    quantizer = Quantizer.of(graph, SCHEMES[name], method=method)
    feeds = checked(lambda: iter([{"x": batch} for batch in normal((2, 3, 8, 8))]), graph.inputs, "test")
    statistics = collect(graph, quantizer.placement.observed(), feeds)
    return quantizer.ranges(statistics.tensors), statistics.tensors


@pytest.mark.parametrize("method", ["min-max", "mse", "entropy", "percentile"])
def test_no_step_is_spent_below_what_a_hard_swish_tells_apart(tmp_path, method):
    found, seen = ranges(gated("HardSwish"), tmp_path, method=method)
    assert seen["c"].minimum < -10 and seen["c"].maximum > 5
    low = -found["c"].zero_point * found["c"].scale
    assert -3.2 < low <= 0
    if method == "min-max":
        assert found["c"] == affine(-3.0, seen["c"].maximum, SCHEMES["server-cpu"].activation)


def test_a_gate_bounds_both_ends_and_another_reader_none(tmp_path):
    found, seen = ranges(gated("HardSigmoid", alpha=0.5, beta=0.5), tmp_path)
    assert found["c"] == affine(-1.0, 1.0, SCHEMES["server-cpu"].activation)
    model = gated("HardSwish")
    model.graph.node.append(helper.make_node("Abs", ["c"], ["z"]))
    model.graph.output.append(floats("z", 2, 8, 8, 8))
    found, seen = ranges(model, tmp_path)
    assert found["c"] == affine(seen["c"].minimum, seen["c"].maximum, SCHEMES["server-cpu"].activation)


def test_a_narrower_range_is_nearer_to_float(tmp_path):
    batches = normal((2, 3, 8, 8))
    _, _, source, path = to_int8(gated("HardSwish"), "server-cpu", batches, tmp_path)
    found = decibel(run(source, batches[0]), run(path, batches[0]))
    # As it was before: the same function, of which nobody knows that it is flat.
    nodes = {"HardSwish": [helper.make_node("HardSigmoid", ["c"], ["g"], alpha=1 / 6, beta=0.5)]}
    model = gated("HardSwish")
    rest = [n for n in model.graph.node if n.op_type != "HardSwish"]
    model.graph.ClearField("node")
    model.graph.node.extend([rest[0], *nodes["HardSwish"], helper.make_node("Mul", ["c", "g"], ["h"]), rest[1]])
    (tmp_path / "spelled").mkdir()
    _, _, source, path = to_int8(model, "server-cpu", batches, tmp_path / "spelled")
    assert found > decibel(run(source, batches[0]), run(path, batches[0])) + 1
