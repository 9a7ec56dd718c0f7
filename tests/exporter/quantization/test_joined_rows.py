"""Tokens that are joined, and read by a linear layer: OpenVINO makes a zero point a row of the quantization between."""

import numpy as np
import pytest
from onnx import helper

from ._int8 import array, decibel, floats, model_of, normal, run, to_int8, weight
from .test_scales_in_place import answers


def classified(axis=1):
    """A layer of tokens, the first of which stands in front of them again, and a layer without a bias."""
    nodes = [
        helper.make_node("MatMul", ["x", "w"], ["m"], name="first"),
        helper.make_node("Slice", ["m", "start", "end", "axes"], ["t"], name="token"),
        helper.make_node("Concat", ["t", "m"], ["c"], name="joined", axis=axis),
    ]
    nodes.append(helper.make_node("MatMul", ["c", "v"], ["y"], name="second"))
    joined = (5, 16) if axis == 1 else (4, 17)
    places = [array(n, np.array([v], np.int64)) for n, v in (("start", 0), ("end", 1), ("axes", axis))]
    weights = [weight("w", 12, 16), weight("v", joined[1], 6)]
    return model_of(nodes, [floats("x", "n", 4, 12)], [floats("y", "n", joined[0], 6)], [*weights, *places], opset=20)


def maxima(int8):
    return [node.op_type for node in int8.graph.node].count("Max")


def test_a_quantization_stays_behind_joined_rows(tmp_path):
    int8, placement, source, path = to_int8(classified(), "cpu", normal((3, 4, 12)), tmp_path, isa=())
    assert not placement.left and maxima(int8) == 1
    batch = normal((3, 4, 12), seed=7, count=1)[0]
    assert decibel(run(path, batch), answers(path, batch)) > 100
    assert decibel(run(source, batch), answers(path, batch)) > 30


def test_joined_channels_stay_as_they_are(tmp_path):
    int8, _, _, path = to_int8(classified(axis=2), "cpu", normal((3, 4, 12)), tmp_path, isa=())
    assert maxima(int8) == 0
    batch = normal((3, 4, 12), seed=7, count=1)[0]
    assert decibel(run(path, batch), answers(path, batch)) > 40


@pytest.mark.parametrize("name", ["server-cpu", "mobile", "rtx"])
def test_other_runtimes_have_no_max(name, tmp_path):
    int8, *_ = to_int8(classified(), name, normal((3, 4, 12)), tmp_path)
    assert maxima(int8) == 0


@pytest.mark.parametrize("channels", [1, 3])
def test_joined_columns_that_are_turned_to_rows_are_quantized_again(channels, tmp_path):
    """A border that is the other end's, as of circular padding, and a head over all places."""
    nodes = [
        helper.make_node("Conv", ["x", "w"], ["m"], name="first"),
        helper.make_node("Slice", ["m", "start", "end", "axes"], ["t"], name="border"),
        helper.make_node("Concat", ["t", "m"], ["c"], name="joined", axis=2),
        helper.make_node("Transpose", ["c"], ["r"], name="turned", perm=[0, 2, 1]),
        helper.make_node("MatMul", ["r", "v"], ["y"], name="second"),
    ]
    places = [array(n, np.array([v], np.int64)) for n, v in (("start", 0), ("end", 1), ("axes", 2))]
    weights = [weight("w", channels, 4, 1), weight("v", channels, 6)]
    net = model_of(nodes, [floats("x", "n", 4, 12)], [floats("y", "n", 13, 6)], [*weights, *places], opset=20)
    int8, placement, source, path = to_int8(net, "cpu", normal((3, 4, 12)), tmp_path, isa=())
    assert not placement.left and maxima(int8) == 1
    batch = normal((3, 4, 12), seed=7, count=1)[0]
    assert decibel(run(path, batch), answers(path, batch)) > 100
    assert decibel(run(source, batch), answers(path, batch)) > 25
