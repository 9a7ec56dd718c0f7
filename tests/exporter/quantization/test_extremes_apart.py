"""Reductions to the largest or smallest value that OpenVINO computes in integers before their scale is applied."""

import numpy as np
import pytest
from onnx import helper

from ._int8 import array, decibel, floats, model_of, normal, run, to_int8, weight

SHAPE = (2, 6, 8, 8)
AXES = {"k0": [2, 3], "k1": [2, 3], "first": [1]}


def answers(path, batch):
    openvino = pytest.importorskip("openvino")
    engine = openvino.Core().compile_model(path, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    return engine({"x": batch})[0]


def pooled(operator, how):
    """A layer over what is largest or smallest of an image's channels."""
    nodes = [
        helper.make_node("Conv", ["x", "w0"], ["s"], name="stem", pads=[1] * 4),
        helper.make_node("Sin", ["s"], ["c"], name="float"),  # what integers are reduced as is right
    ]
    if operator == "GlobalMaxPool":
        nodes.append(helper.make_node(operator, ["c"], ["p"], name="extreme"))
    else:
        kept = int(how != "k0")
        nodes.append(helper.make_node(operator, ["c", "axes"], ["p"], name="extreme", keepdims=kept))
    behind = {
        "sigmoid": helper.make_node("Sigmoid", ["p"], ["q"], name="gate"),
        "mean": helper.make_node("Concat", ["p", "m"], ["q"], name="both", axis=1),
    }.get(how, helper.make_node("Identity", ["p"], ["q"], name="same"))
    nodes += [helper.make_node("GlobalAveragePool", ["c"], ["m"], name="mean")] * (how == "mean")
    nodes.append(behind)
    if how == "k0":
        nodes.append(helper.make_node("Gemm", ["q", "w1"], ["y"], name="head"))
        wide, out = weight("w1", 8, 5), ("n", 5)
    else:
        channels = {"first": 1, "mean": 16}.get(how, 8)
        nodes.append(helper.make_node("Conv", ["q", "w1"], ["y"], name="head"))
        side = 8 if how == "first" else 1
        wide, out = weight("w1", 5, channels, 1, 1), ("n", 5, side, side)
    weights = [weight("w0", 8, 6, 3, 3), wide, array("axes", np.array(AXES.get(how, [2, 3]), np.int64))]
    return model_of(nodes, [floats("x", "n", *SHAPE[1:])], [floats("y", *out)], weights, opset=20)


@pytest.mark.parametrize(
    ("operator", "how"),
    [
        *(("ReduceMax", how) for how in ("k0", "k1", "first", "sigmoid", "mean")),
        *(("ReduceMin", how) for how in ("k0", "k1", "first", "sigmoid", "mean")),
        *(("GlobalMaxPool", how) for how in ("k1", "sigmoid", "mean")),
    ],
)
def test_what_is_largest_or_smallest_is_found_before_it_is_rounded(operator, how, tmp_path):
    int8, placement, source, path = to_int8(pooled(operator, how), "cpu", normal(SHAPE), tmp_path, isa=())
    assert not placement.left and [node.op_type for node in int8.graph.node].count("CumSum") == 1
    batch = normal(SHAPE, seed=7, count=1)[0]
    assert decibel(run(path, batch), answers(path, batch)) > 40
    assert decibel(run(source, batch), answers(path, batch)) > 20


@pytest.mark.parametrize("operator", ["ReduceMax", "ReduceMin"])
def test_of_a_matrix_too_where_its_axes_are_kept(operator, tmp_path):
    """0 dB of the least, 10 of the largest, where what is dropped is right."""
    nodes = [
        helper.make_node("Gemm", ["x", "w0"], ["g"], name="first"),
        helper.make_node(operator, ["g", "axes"], ["m"], name="extreme", keepdims=1),
        helper.make_node("MatMul", ["m", "w1"], ["y"], name="head"),
    ]
    constants = [weight("w0", 8, 12), weight("w1", 1, 5), array("axes", np.array([1]))]
    model = model_of(nodes, [floats("x", "n", 8)], [floats("y", "n", 5)], constants, opset=20)
    int8, _, source, path = to_int8(model, "cpu", normal((4, 8)), tmp_path, isa=(), lifts=())
    assert [node.op_type for node in int8.graph.node].count("CumSum") == 1
    batch = normal((4, 8), seed=7, count=1)[0]
    assert decibel(run(path, batch), answers(path, batch)) > 40
    assert decibel(run(source, batch), answers(path, batch)) > 20


def test_a_mean_and_what_nobody_rounds_stay_as_they_are(tmp_path):
    model = pooled("ReduceMean", "k0")
    int8, *_ = to_int8(model, "cpu", normal(SHAPE), tmp_path, isa=())
    assert "CumSum" not in [node.op_type for node in int8.graph.node]


def test_one_that_is_an_output_too_stays_one(tmp_path):
    model = pooled("ReduceMax", "k0")
    model.graph.output.append(floats("p", "n", 8))
    int8, *_ = to_int8(model, "cpu", normal(SHAPE), tmp_path, isa=())
    outputs = int8.graph.output
    assert [value.name for value in outputs] == ["y", "p"]
    assert len(outputs[1].type.tensor_type.shape.dim) == 2
