"""Constants a channel that OpenVINO folds into the quantization behind them, where all channels get the first one's."""

import numpy as np
import pytest
from onnx import helper

from ._int8 import array, decibel, floats, model_of, normal, run, to_int8, weight

SHAPE = (2, 3, 8, 8)
SIGNED = np.array([0.3, -1.2, 0.05, 2, -0.4, 0.7, -0.1, 1.1], np.float32)


def operators(model):
    return [node.op_type for node in model.graph.node]


def to_openvino(model, directory):
    """With weights of 7 bits, so that no processor's kernels saturate."""
    return to_int8(model, "cpu", normal(SHAPE), directory, isa=())


def answers(path, batch):
    openvino = pytest.importorskip("openvino")
    engine = openvino.Core().compile_model(path, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    return engine({"x": batch})[0]


def branch_scaled(operator, scales, following):
    """A branch times a scale a channel (a layer scale), added to what it branched off from."""
    nodes = [
        helper.make_node("Conv", ["x", "w0"], ["c"], name="stem", pads=[1] * 4),
        helper.make_node("Relu", ["c"], ["f"], name="relu"),
        helper.make_node("Transpose", ["f"], ["l"], name="last", perm=[0, 2, 3, 1]),
        helper.make_node("MatMul", ["l", "w1"], ["g"], name="branch"),
        helper.make_node("Transpose", ["g"], ["t"], name="first", perm=[0, 3, 1, 2]),
        helper.make_node(operator, ["t", "s"], ["m"], name="scale"),
        *following,
        helper.make_node("Add", ["f", "k" if following else "m"], ["a"], name="sum"),
        helper.make_node("Conv", ["a", "w2"], ["y"], name="head"),
    ]
    weights = [weight("w0", 8, 3, 3, 3), weight("w1", 8, 8), weight("w2", 4, 8, 1, 1), array("s", scales)]
    limits = [array("low", np.float32(-1)), array("high", np.float32(1))]
    return model_of(nodes, [floats("x", "n", *SHAPE[1:])], [floats("y", "n", 4, 8, 8)], weights + limits, opset=20)


CLIPPED = (helper.make_node("Clip", ["m", "low", "high"], ["k"], name="clip"),)


@pytest.mark.parametrize(
    ("operator", "scales", "following"),
    [
        ("Mul", SIGNED.reshape(8, 1, 1), ()),
        ("Mul", SIGNED.reshape(1, 8, 1, 1), CLIPPED),
        ("Div", np.where(np.abs(SIGNED) < 0.2, SIGNED * 10, SIGNED).reshape(8, 1, 1), ()),
    ],
)
def test_each_channel_keeps_its_own_scale_where_some_are_negative(operator, scales, following, tmp_path):
    model = branch_scaled(operator, scales.astype(np.float32), following)
    int8, placement, source, path = to_openvino(model, tmp_path)
    assert not placement.left and operators(int8).count("Squeeze") == 1
    batch = normal(SHAPE, seed=7, count=1)[0]
    assert decibel(run(path, batch), answers(path, batch)) > 40
    assert decibel(run(source, batch), answers(path, batch)) > 25


BEHIND = {
    "channels last": (True, helper.make_node("Transpose", ["m"], ["b"], name="behind", perm=[0, 2, 3, 1])),
    "limits": (True, helper.make_node("Clip", ["m", "low", "high"], ["b"], name="behind")),
    "Neg": (True, helper.make_node("Neg", ["m"], ["b"], name="behind")),
    "places": (False, helper.make_node("Gather", ["m", "at"], ["b"], name="behind", axis=2)),
    "Pad": (False, helper.make_node("Pad", ["m", "pads"], ["b"], name="behind")),
    "AveragePool": (False, helper.make_node("AveragePool", ["m"], ["b"], name="behind", kernel_shape=[2, 2])),
}


@pytest.mark.parametrize("behind", BEHIND)
def test_each_channel_keeps_its_own_scale_through_what_is_behind_it(behind, tmp_path):
    """7 to 11 dB: of what moves some negative scales, and of positive ones where sign, axes or limits change."""
    positive, last = BEHIND[behind]
    scales = np.abs(SIGNED) if positive else SIGNED
    nodes = [
        helper.make_node("Mul", ["x", "s"], ["m"], name="scale"),
        last,
        helper.make_node("Conv", ["b", "w"], ["y"], name="head"),
    ]
    arrays = [array("s", scales.reshape(8, 1, 1)), weight("w", 4, 8, 1, 1), array("at", np.array([2, 0, 5]))]
    arrays += [array("low", np.float32(-1)), array("high", np.float32(1)), array("pads", np.array([0, 0, 1, 1] * 2))]
    read = {name for node in nodes for name in node.input}
    arrays = [each for each in arrays if each.name in read]
    ends = [floats("x", "n", 8, 8, 8)], [floats("y", "n", 4, "h", "w")]
    int8, placement, source, path = to_int8(model_of(nodes, *ends, arrays, opset=20), "cpu", normal((2, 8, 8, 8)),
                                            tmp_path, isa=())  # fmt: skip
    assert not placement.left and operators(int8).count("Squeeze") == 1
    batch = normal((2, 8, 8, 8), seed=7, count=1)[0]
    assert decibel(run(path, batch), answers(path, batch)) > 60
    assert decibel(run(source, batch), answers(path, batch)) > 25


@pytest.mark.parametrize("scales", [np.abs(SIGNED).reshape(8, 1, 1), np.float32(-0.5)])
def test_scales_that_are_positive_or_one_for_all_stay_as_they_are(scales, tmp_path):
    int8, _, _, path = to_openvino(branch_scaled("Mul", scales, ()), tmp_path)
    assert "Squeeze" not in operators(int8)
    batch = normal(SHAPE, seed=7, count=1)[0]
    assert decibel(run(path, batch), answers(path, batch)) > 40


def test_a_convolution_keeps_the_scale_behind_it(tmp_path):
    nodes = [
        helper.make_node("Conv", ["x", "w0"], ["c"], name="stem", pads=[1] * 4),
        helper.make_node("Relu", ["c"], ["f"], name="relu"),
        helper.make_node("Conv", ["f", "w1"], ["g"], name="branch"),
        helper.make_node("Mul", ["s", "g"], ["m"], name="scale"),
        helper.make_node("Add", ["f", "m"], ["a"], name="sum"),
        helper.make_node("Conv", ["a", "w2"], ["y"], name="head"),
    ]
    weights = [weight("w0", 8, 3, 3, 3), weight("w1", 8, 8, 1, 1), weight("w2", 4, 8, 1, 1)]
    ends = [floats("x", "n", *SHAPE[1:])], [floats("y", "n", 4, 8, 8)]
    model = model_of(nodes, *ends, [*weights, array("s", SIGNED.reshape(8, 1, 1))], opset=20)
    int8, _, _, path = to_openvino(model, tmp_path)
    assert "Squeeze" not in operators(int8)
    batch = normal(SHAPE, seed=7, count=1)[0]
    assert decibel(run(path, batch), answers(path, batch)) > 40


def with_a_token(activation):
    """Patches by a convolution, and beside them a token that is repeated for each sample, as a vision transformer's."""
    ends = {"Clip": ["low", "high"]}.get(activation, [])
    nodes = [
        helper.make_node("Conv", ["x", "w0", "b0"], ["c"], name="stem", pads=[1] * 4),
        *([helper.make_node(activation, ["c", *ends], ["f"], name="f")] if activation else []),
        helper.make_node("Conv", ["f" if activation else "c", "w1"], ["g"], name="patches"),
        helper.make_node("Reshape", ["g", "flat"], ["r"], name="flat"),
        helper.make_node("Transpose", ["r"], ["p"], name="rows", perm=[0, 2, 1]),
        helper.make_node("Shape", ["x"], ["n"], name="sizes", start=0, end=1),
        helper.make_node("Concat", ["n", "one"], ["size"], name="size", axis=0),
        helper.make_node("Expand", ["token", "size"], ["e"], name="expand"),
        helper.make_node("Concat", ["e", "p"], ["y"], name="join", axis=1),
    ]
    weights = [
        *(weight("w0", 8, 3, 3, 3), weight("b0", 8, scale=1), weight("w1", 4, 8, 1, 1), weight("token", 1, 1, 4)),
        *(array("flat", np.array([0, 4, 64])), array("one", np.array([1, 4]))),
        *(array("low", np.float32(0)), array("high", np.float32(6))),
    ]
    return model_of(nodes, [floats("x", "n", *SHAPE[1:])], [floats("y", "n", 65, 4)], weights, opset=20)


@pytest.mark.parametrize("activation", [None, "Clip", "Relu", "Sigmoid"])
def test_a_convolution_keeps_its_bias_where_sizes_are_computed(activation, tmp_path):
    int8, placement, source, path = to_openvino(with_a_token(activation), tmp_path)
    assert not placement.left and "Squeeze" not in operators(int8)
    for samples in (2, 5):
        batch = normal((samples, *SHAPE[1:]), seed=7, count=1)[0]
        assert decibel(run(path, batch), answers(path, batch)) > 40
        assert decibel(run(source, batch), answers(path, batch)) > 25


def test_so_does_each_convolution_behind_it(tmp_path):
    """As in the backbone of a DETR, whose queries are repeated for each sample."""
    model = with_a_token("Relu")
    deeper = [helper.make_node("Conv", ["f", "w2", "b2"], ["d"], name="deeper"), helper.make_node("Relu", ["d"], ["h"])]
    position = next(i for i, node in enumerate(model.graph.node) if node.name == "patches")
    model.graph.node[position].input[0] = "h"
    for node in reversed(deeper):
        model.graph.node.insert(position, node)
    model.graph.initializer.extend([weight("w2", 8, 8, 1, 1, seed=2), weight("b2", 8, scale=1)])
    model = model_of(model.graph.node, model.graph.input, model.graph.output, model.graph.initializer, opset=20)
    _, placement, source, path = to_openvino(model, tmp_path)
    assert not placement.left
    batch = normal((5, *SHAPE[1:]), seed=7, count=1)[0]
    assert decibel(run(path, batch), answers(path, batch)) > 40
    assert decibel(run(source, batch), answers(path, batch)) > 25
