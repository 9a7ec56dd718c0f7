"""Boxes beside scores that pass through an operator of integers on their way out of the model."""

import numpy as np
import pytest
from onnx import helper

from ._int8 import array, decibel, every_scheme, floats, model_of, normal, run, to_int8, weight

BOXES, SCORES = 4, 6
TAILS = {
    "a sum of two": [("Add", ["h", "h2"], {})],
    "a sum with features": [("Add", ["h", "f"], {})],
    "a rectified sum": [("Add", ["h", "h2"], {}), ("Relu", ["t0"], {})],
    "a leaky activation": [("LeakyRelu", ["h"], {"alpha": 0.1})],
    "a pool": [("AveragePool", ["h"], {"kernel_shape": [2, 2], "strides": [2, 2]})],
    "a mean": [("GlobalAveragePool", ["h"], {})],
    "a mean, flattened": [("GlobalAveragePool", ["h"], {}), ("Flatten", ["t0"], {})],
}


def head(tail):
    """Two heads of boxes in pixels and scores of a few units over common features, and operators behind them."""
    nodes = [
        helper.make_node("Conv", ["x", "w0"], ["c"], name="stem", pads=[1] * 4),
        helper.make_node("Relu", ["c"], ["f"], name="relu"),
        helper.make_node("Conv", ["f", "w1", "bias"], ["h"], name="head"),
        helper.make_node("Conv", ["f", "w2", "bias"], ["h2"], name="other"),
    ]
    for step, (operator, inputs, attributes) in enumerate(TAILS[tail]):
        name = "y" if step + 1 == len(TAILS[tail]) else f"t{step}"
        nodes.append(helper.make_node(operator, inputs, [name], name=f"tail{step}", **attributes))
    channels = BOXES + SCORES
    scale = np.repeat([60.0, 0.5], [BOXES, SCORES]).astype(np.float32).reshape(-1, 1, 1, 1)
    rng = np.random.default_rng(3)
    heads = [
        array(name, (rng.normal(size=(channels, channels, 1, 1)) * scale).astype(np.float32)) for name in ("w1", "w2")
    ]
    bias = array("bias", np.repeat([300.0, 0.0], [BOXES, SCORES]).astype(np.float32))
    size = {"a pool": [4, 4], "a mean": [1, 1], "a mean, flattened": []}.get(tail, [8, 8])
    used = [node for node in nodes if tail.startswith(("a sum of", "a rect")) or node.name != "other"]
    weights = [weight("w0", channels, 3, 3, 3), bias, *heads]
    read = {name for node in used for name in node.input}
    return model_of(
        used, [floats("x", 2, 3, 8, 8)], [floats("y", 2, channels, *size)], [w for w in weights if w.name in read]
    )


@every_scheme
@pytest.mark.parametrize("tail", TAILS)
def test_scores_survive_what_follows_them(name, tail, tmp_path):
    _, placement, source, path = to_int8(head(tail), name, normal((2, 3, 8, 8)), tmp_path)
    assert placement.weights
    batch = normal((2, 3, 8, 8), seed=7, count=1)[0]
    expected, found = run(source, batch), run(path, batch)
    assert decibel(expected[:, :BOXES], found[:, :BOXES]) > 25
    assert decibel(expected[:, BOXES:], found[:, BOXES:]) > 20


@pytest.mark.parametrize("name", ["cpu", "server-cpu", "mobile"])
def test_features_that_a_layer_reads_are_still_added_in_integers(name, tmp_path):
    """Channels differ there as well, and the weights of that layer make up for it."""
    model = head("a sum of two")
    model.graph.node.append(helper.make_node("Conv", ["y", "w3"], ["z"], name="last"))
    model.graph.initializer.append(weight("w3", 5, BOXES + SCORES, 1, 1))
    model.graph.output[0].CopyFrom(floats("z", 2, 5, 8, 8))
    int8, *_ = to_int8(model, name, normal((2, 3, 8, 8)), tmp_path)
    made = {output: node.op_type for node in int8.graph.node for output in node.output}
    (add,) = [node for node in int8.graph.node if node.op_type == "Add"]
    assert [made[value] for value in add.input] == ["DequantizeLinear"] * 2
