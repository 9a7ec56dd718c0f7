"""A head whose peaks are found by comparing it with its own max-pool, as detectors by centre points do."""

import numpy as np
import pytest
from onnx import TensorProto, helper

from ._int8 import every_scheme, floats, model_of, run, to_int8, weight


def heat_map(compared=True):
    """A heat map over smooth features; where a value is the largest around, the output keeps it."""
    nodes = [
        helper.make_node("Conv", ["x", "w0"], ["c"], name="stem", pads=[2] * 4),
        helper.make_node("Relu", ["c"], ["f"], name="relu"),
        helper.make_node("Conv", ["f", "w1"], ["logits"], name="head"),
        helper.make_node("Sigmoid", ["logits"], ["heat"], name="sigmoid"),
        helper.make_node("MaxPool", ["heat"], ["largest"], name="pool", kernel_shape=[3, 3], pads=[1] * 4),
    ]
    if compared:
        nodes += [
            helper.make_node("Equal", ["heat", "largest"], ["same"], name="equal"),
            helper.make_node("Cast", ["same"], ["kept"], name="cast", to=TensorProto.FLOAT),
            helper.make_node("Mul", ["heat", "kept"], ["y"], name="peaks"),
        ]
    else:
        nodes[-1].output[0] = "y"
    weights = [weight("w0", 8, 3, 5, 5, scale=0.1), weight("w1", 3, 8, 1, 1, scale=0.5)]
    return model_of(nodes, [floats("x", 2, 3, 24, 24)], [floats("y", 2, 3, 24, 24)], weights)


def waves(seed, count=8):
    """Of each channel a mixture of waves, some pixels long."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:24, :24]
    ways = rng.uniform(-1, 1, (2, count, 2, 3, 8, 1, 1))
    phases = rng.uniform(0, 2 * np.pi, (count, 2, 3, 8, 1, 1))
    return list(np.sin(ways[0] * x + ways[1] * y + phases).sum(3).astype(np.float32))


@every_scheme
def test_neighbours_do_not_become_equal(name, tmp_path):
    _, placement, source, path = to_int8(heat_map(), name, waves(1), tmp_path)
    assert placement.weights
    (batch,) = waves(7, count=1)
    right, found = (run(file, batch) > 0 for file in (source, path))
    assert right.sum() > 50
    assert (found & ~right).sum() < 0.1 * right.sum(), f"{found.sum()} peaks of {right.sum()}"


def test_the_report_says_why_such_a_head_is_float(tmp_path):
    _, placement, *_ = to_int8(heat_map(), "mobile", waves(1), tmp_path)
    assert "peaks" in placement.left["head"] and set(placement.left) == {"head"}


def test_its_product_stays_in_integers_where_it_can_be_one_of_matrices(tmp_path):
    _, placement, *_ = to_int8(heat_map(), "server-cpu", waves(1), tmp_path)
    assert not placement.left and [node.name for node in placement.patches] == ["head"]


@pytest.mark.parametrize("name", ["server-cpu", "mobile"])
def test_a_map_that_is_only_pooled_is_quantized(name, tmp_path):
    _, placement, *_ = to_int8(heat_map(compared=False), name, waves(1), tmp_path)
    assert not placement.left and not placement.patches
