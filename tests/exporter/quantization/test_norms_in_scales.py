"""One convolution's weights that several read, each with a norm of its own behind it, as the levels of a detector."""

import numpy as np
import pytest
from onnx import helper

from ._int8 import array, decibel, floats, model_of, normal, run, to_int8, weight


def levels(factor=1.0):
    """Three convolutions of the same weights, with norms whose factors have both signs; of one it is `factor`."""
    nodes, initializers, value = [], [weight("w", 8, 8, 3, 3)], "x"
    for index in range(3):
        r = np.random.default_rng(index)
        scale = r.uniform(0.5, 2, 8) * np.where(np.arange(8) % 3, 1, -1)
        scale[4] *= factor
        parts = {"scale": scale, "bias": r.normal(size=8), "mean": r.normal(size=8), "var": r.uniform(0.5, 2, 8)}
        initializers += [array(f"{part}{index}", values.astype(np.float32)) for part, values in parts.items()]
        nodes += [
            helper.make_node("Conv", [value, "w"], [f"c{index}"], name=f"conv{index}", pads=[1, 1, 1, 1]),
            helper.make_node("BatchNormalization", [f"c{index}", *(f"{p}{index}" for p in parts)], [f"n{index}"]),
            helper.make_node("Relu", [f"n{index}"], [f"r{index}"]),
        ]
        value = f"r{index}"
    nodes.append(helper.make_node("GlobalAveragePool", [value], ["y"], name="pool"))
    return model_of(nodes, [floats("x", "n", 8, 12, 12)], [floats("y", "n", 8, 1, 1)], initializers)


def kernels(path, batch):
    """Kernels of the convolutions, and the result."""
    openvino = pytest.importorskip("openvino")
    engine = openvino.Core().compile_model(path, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    nodes = [node.get_rt_info() for node in engine.get_runtime_model().get_ops()]
    found = [n["primitiveType"].astype(str) for n in nodes if n["layerType"].astype(str) == "Convolution"]
    return found, engine({"x": batch})[0]


def norms(int8):
    return [node.op_type for node in int8.graph.node].count("BatchNormalization")


def test_norms_are_scales_of_weights_that_are_stored_once(tmp_path):
    int8, _, source, path = to_int8(levels(), "cpu", normal((3, 8, 12, 12)), tmp_path, isa=())
    assert norms(int8) == 0
    assert len([t for t in int8.graph.initializer if list(t.dims) == [8, 8, 3, 3]]) == 1
    batch = normal((3, 8, 12, 12), seed=7, count=1)[0]
    found, answer = kernels(path, batch)
    assert len(found) == 3 and all(kernel.endswith("_I8") for kernel in found), found
    assert decibel(run(path, batch), answer) > 60
    assert decibel(run(source, batch), answer) > 30


def test_a_norm_that_is_zero_somewhere_stays(tmp_path):
    int8, _, source, path = to_int8(levels(0.0), "cpu", normal((3, 8, 12, 12)), tmp_path, isa=())
    assert norms(int8) == 3
    batch = normal((3, 8, 12, 12), seed=7, count=1)[0]
    assert decibel(run(source, batch), run(path, batch)) > 30


def test_other_runtimes_keep_their_norms(tmp_path):
    int8, *_ = to_int8(levels(), "server-cpu", normal((3, 8, 12, 12)), tmp_path)
    assert norms(int8) == 3
