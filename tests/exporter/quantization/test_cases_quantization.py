"""Graphs of kinds that once came out wrong, or not at all: the int8 graph against the float one, on data not seen."""

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from onnx import TensorProto, helper, numpy_helper

from edgepress.calibration.collect import collect
from edgepress.calibration.feeds import checked
from edgepress.exporter.graphs.files import read_graph
from edgepress.exporter.quantization.quantizer import Quantizer
from edgepress.profiles.device.target import load_target

SCHEMES = {name: load_target(name).scheme for name in ("cpu", "server-cpu", "mobile", "rtx")}
every_scheme = pytest.mark.parametrize("name", SCHEMES)


def floats(name, *shape):
    return helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)


def weight(name, *shape, scale=0.3, seed=0):
    values = np.random.default_rng([seed, *name.encode()]).normal(size=shape) * scale
    return numpy_helper.from_array(values.astype(np.float32), name)


def array(name, values):
    return numpy_helper.from_array(np.asarray(values), name)


def model_of(nodes, inputs, outputs, initializers, opset=17):
    graph = helper.make_graph(nodes, "g", inputs, outputs, initializers)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)
    onnx.checker.check_model(model, full_check=True)
    return onnx.shape_inference.infer_shapes(model)


def normal(shape, seed=1, count=8):
    rng = np.random.default_rng(seed)
    return [rng.normal(size=shape).astype(np.float32) for _ in range(count)]


def to_int8(model, name, batches, directory):
    """The int8 graph of a model with one input, its placement, and the path of the float one."""
    source, path = directory / "float.onnx", directory / "int8.onnx"
    onnx.save(model, source)
    graph = read_graph(source)
    quantizer = Quantizer.of(graph, SCHEMES[name])
    feeds = checked(lambda: iter([{graph.inputs[0].name: batch} for batch in batches]), graph.inputs, "test")
    quantizer.write(collect(graph, quantizer.placement.observed(), feeds), path)
    onnx.checker.check_model(str(path), full_check=True)
    return onnx.load(path), quantizer.placement, source, path


def run(path, batch):
    options = ort.SessionOptions()
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.log_severity_level = 3
    session = ort.InferenceSession(path, options)
    return session.run(None, {session.get_inputs()[0].name: batch})[0]


def decibel(expected, found):
    return 10 * np.log10((expected.astype(float) ** 2).sum() / ((expected.astype(float) - found) ** 2).sum())


def reads_quantized(model, operator):
    """Of each node of this operator type, whether each input comes from a DequantizeLinear."""
    made = {name: node.op_type for node in model.graph.node for name in node.output}
    found = [n for n in model.graph.node if n.op_type == operator]
    return [[made.get(name) == "DequantizeLinear" for name in node.input] for node in found]


def boxes_and_scores(joined):
    """A detector's head: boxes of some hundred pixels beside scores of a few units, of two convolutions or of one."""
    features = [
        helper.make_node("Conv", ["x", "w0"], ["c"], name="stem", pads=[1] * 4),
        helper.make_node("Relu", ["c"], ["f"], name="relu"),
    ]
    box, score = np.float32(300) * np.ones(4, np.float32), np.zeros(6, np.float32)
    wide, narrow = weight("box", 4, 8, 1, 1, scale=60), weight("score", 6, 8, 1, 1, scale=0.5)
    if joined:
        head = [
            helper.make_node("Conv", ["f", "box", "box_bias"], ["b"], name="boxes"),
            helper.make_node("Conv", ["f", "score", "score_bias"], ["s"], name="scores"),
            helper.make_node("Concat", ["b", "s"], ["y"], name="join", axis=1),
        ]
        weights = [wide, narrow, array("box_bias", box), array("score_bias", score)]
    else:
        head = [helper.make_node("Conv", ["f", "both", "bias"], ["y"], name="head")]
        both = np.concatenate([numpy_helper.to_array(wide), numpy_helper.to_array(narrow)])
        weights = [array("both", both), array("bias", np.concatenate([box, score]))]
    shape = (2, 3, 8, 8), (2, 10, 8, 8)
    return model_of(
        features + head, [floats("x", *shape[0])], [floats("y", *shape[1])], [weight("w0", 8, 3, 3, 3), *weights]
    )


@every_scheme
@pytest.mark.parametrize("joined", [True, False])
def test_scores_beside_boxes_keep_their_own_precision(name, joined, tmp_path):
    _, placement, source, path = to_int8(boxes_and_scores(joined), name, normal((2, 3, 8, 8)), tmp_path)
    batch = normal((2, 3, 8, 8), seed=7, count=1)[0]
    expected, found = run(source, batch), run(path, batch)
    assert decibel(expected[:, :4], found[:, :4]) > 25
    assert decibel(expected[:, 4:], found[:, 4:]) > 25
    if not joined and name == "mobile":
        assert "one scale would lose the small ones" in placement.left["head"]
    else:
        assert not placement.left


def joined_parts(times, tail):
    """Two convolutions, one some times wider than the other, joined for a third or as the model's output."""
    nodes = [
        helper.make_node("Conv", ["x", "w1"], ["a"], name="a", pads=[1] * 4),
        helper.make_node("Conv", ["x", "w2"], ["b"], name="b", pads=[1] * 4),
        helper.make_node("Concat", ["a", "b"], ["j"], name="j", axis=1),
        *([helper.make_node("Conv", ["j", "w3"], ["y"], name="last")] if tail else []),
    ]
    weights = [weight("w1", 4, 3, 3, 3), weight("w2", 4, 3, 3, 3, scale=0.3 * times), weight("w3", 4, 8, 1, 1)]
    out = floats("y", 2, 4, 8, 8) if tail else floats("j", 2, 8, 8, 8)
    return model_of(nodes, [floats("x", 2, 3, 8, 8)], [out], weights[: 3 if tail else 2])


def scales(model, stem):
    (scale,) = [numpy_helper.to_array(t) for t in model.graph.initializer if t.name == f"{stem}_scale"]
    return float(scale)


@pytest.mark.parametrize("name", ["cpu", "server-cpu", "mobile"])
def test_parts_of_a_concat_share_a_scale_only_where_it_suits_all(name, tmp_path):
    alike, _, _, _ = to_int8(joined_parts(1.5, tail=True), name, normal((2, 3, 8, 8)), tmp_path)
    assert scales(alike, "a") == scales(alike, "b") == scales(alike, "j")
    apart, placement, source, path = to_int8(joined_parts(40, tail=True), name, normal((2, 3, 8, 8)), tmp_path)
    assert all(reads_quantized(apart, "Conv")[-1][:2]) and not placement.left
    batch = normal((2, 3, 8, 8), seed=7, count=1)[0]
    assert decibel(run(source, batch), run(path, batch)) > 25


def test_what_no_integer_kernel_reads_is_not_rounded_on_its_way_out(tmp_path):
    model, _, _, _ = to_int8(joined_parts(1.5, tail=False), "cpu", normal((2, 3, 8, 8)), tmp_path)
    assert reads_quantized(model, "Concat") == [[False, False]]
    # onnxruntime's convolution gives integers only, so its result is rounded; their Concat's result is not again.
    model, _, _, _ = to_int8(joined_parts(1.5, tail=False), "server-cpu", normal((2, 3, 8, 8)), tmp_path)
    assert reads_quantized(model, "Concat") == [[True, True]]
    assert next(node for node in model.graph.node if "j" in node.output).op_type == "Concat"


def test_a_detectors_reshaped_head_is_no_transformers_stream(tmp_path):
    nodes = [
        helper.make_node("Conv", ["x", "w1"], ["a"], name="a", pads=[1] * 4),
        helper.make_node("Conv", ["a", "w2"], ["h"], name="head"),
        helper.make_node("Reshape", ["h", "flat"], ["r1"], name="r1"),
        helper.make_node("Reshape", ["a", "flat"], ["r2"], name="r2"),
        helper.make_node("Concat", ["r1", "r2"], ["j"], name="j", axis=2),
        helper.make_node("Sigmoid", ["j"], ["y"], name="y"),
    ]
    weights = [weight("w1", 4, 3, 3, 3), weight("w2", 4, 4, 1, 1, scale=1), array("flat", np.array([2, 4, -1]))]
    model = model_of(nodes, [floats("x", 2, 3, 8, 8)], [floats("y", 2, 4, 128)], weights)
    _, placement, source, path = to_int8(model, "mobile", normal((2, 3, 8, 8)), tmp_path)
    assert not placement.left
    batch = normal((2, 3, 8, 8), seed=7, count=1)[0]
    assert decibel(run(source, batch), run(path, batch)) > 25


@every_scheme
def test_a_constant_joined_to_activations_is_rounded_over_its_own_range(name, tmp_path):
    nodes = [
        helper.make_node("Conv", ["x", "w1"], ["c"], name="a", pads=[1] * 4),
        helper.make_node("Relu", ["c"], ["r"], name="b"),
        helper.make_node("Concat", ["r", "grid"], ["j"], name="j", axis=1),
        helper.make_node("Conv", ["j", "w2"], ["y"], name="c"),
    ]
    grid = np.tile(np.linspace(-1, 1, 8, dtype=np.float32), (2, 2, 8, 1))
    weights = [weight("w1", 8, 3, 3, 3), array("grid", grid), weight("w2", 4, 10, 3, 3)]
    model = model_of(nodes, [floats("x", 2, 3, 8, 8)], [floats("y", 2, 4, 6, 6)], weights)
    _, placement, source, path = to_int8(model, name, normal((2, 3, 8, 8)), tmp_path)
    batch = normal((2, 3, 8, 8), seed=7, count=1)[0]
    assert not placement.left and decibel(run(source, batch), run(path, batch)) > 25
