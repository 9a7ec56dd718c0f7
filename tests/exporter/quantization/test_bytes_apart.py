"""Booleans and bytes that OpenVINO takes for integers with a scale, whose scale it moves behind an addition."""

import numpy as np
import pytest
from onnx import TensorProto, helper

from ._int8 import array, decibel, floats, model_of, normal, run, to_int8, weight

SHAPE = (3, 10, 16)


def answers(path, batch):
    openvino = pytest.importorskip("openvino")
    engine = openvino.Core().compile_model(path, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    return engine({"x": batch})[0]


def masked(kind, added=True):
    """What tokens say of each other, without those whose mean is not positive; `kind`: what the mask is made of."""
    node = helper.make_node
    nodes = [
        node("MatMul", ["x", "w0"], ["s"], name="scores"),
        node("ReduceMean", ["x"], ["m"], name="mean", axes=[2], keepdims=0),
        node("Greater", ["m", "zero"], ["b"], name="positive"),
        node("Unsqueeze", ["b", "axis"], ["u"], name="row"),
        node("Cast", ["u"], ["k"], name="bytes", to=getattr(TensorProto, kind)),
        node("Cast", ["k"], ["f"], name="floats", to=TensorProto.FLOAT),
        node("Sub", ["one", "f"], ["i"], name="inverted"),
        node("Mul", ["i", "least"], ["a"], name="mask"),
        node("Add", ["s", "a"] if added else ["a", "zero"], ["t"], name="masked"),
        node("Softmax", ["t"], ["p"], name="shares", axis=-1),
        node("MatMul", ["p", "w1"], ["y"], name="head"),
    ]
    constants = [array(name, np.float32(value)) for name, value in (("zero", 0), ("one", 1), ("least", -1e9))]
    constants += [weight("w0", 16, 10), weight("w1", 10, 5), array("axis", np.array([1], np.int64))]
    rows = 10 if added else 1
    return model_of(nodes, [floats("x", "n", *SHAPE[1:])], [floats("y", "n", rows, 5)], constants)


def widened(model):
    return [node.name for node in model.graph.node if node.name.endswith("/wide")]


@pytest.mark.parametrize("kind", ["BOOL", "UINT8", "INT8", "FLOAT"])
def test_what_a_mask_is_added_to_is_kept(kind, tmp_path):
    int8, placement, source, path = to_int8(masked(kind), "cpu", normal(SHAPE), tmp_path, isa=())
    assert not placement.left and len(widened(int8)) == 1
    batch = normal(SHAPE, seed=7, count=1)[0]
    assert decibel(run(path, batch), answers(path, batch)) > 35
    assert decibel(run(source, batch), answers(path, batch)) > 30


@pytest.mark.parametrize(("kind", "added"), [("INT64", True), ("BOOL", False)])
def test_what_is_none_of_its_integers_or_not_added_is_left_alone(kind, added, tmp_path):
    int8, _, _, path = to_int8(masked(kind, added), "cpu", normal(SHAPE), tmp_path, isa=())
    assert not widened(int8)
    batch = normal(SHAPE, seed=7, count=1)[0]
    assert decibel(run(path, batch), answers(path, batch)) > 35


def test_other_runtimes_read_the_mask_as_it_is(tmp_path):
    int8, *_ = to_int8(masked("BOOL"), "server-cpu", normal(SHAPE), tmp_path)
    assert not widened(int8)
