"""LSTMs in integers where the runtime has a kernel of its own, and what stays float with its reason."""

from dataclasses import replace

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper

from edgepress.backends.registry import load_backend
from edgepress.calibration.collect import collect
from edgepress.calibration.feeds import checked
from edgepress.exporter.candidates.third_link.parting import _regions
from edgepress.exporter.graphs.files import read_graph, read_model
from edgepress.exporter.quantization.layer_parity import layer_parity
from edgepress.exporter.quantization.noise import decibel, measure_noise
from edgepress.exporter.quantization.quantizer import Quantizer
from edgepress.profiles.device.grid import Grid
from edgepress.profiles.device.target import load_target
from edgepress.profiles.machine.environment import this_machine

from ._int8 import opened

INPUTS, HIDDEN, BATCH = 12, 20, 3
onnxruntime_targets = pytest.mark.parametrize("target", ["server-cpu", "mobile", "rpi4", "rpi5"])


def stored(name, shape, seed, scale=0.35):
    rng = np.random.default_rng([seed, *name.encode()])
    return numpy_helper.from_array((rng.uniform(-1, 1, shape) * scale).astype(np.float32), name)


def layer(name, reads, width, directions=1, op="LSTM", more=(), outputs=("Y",), **attributes):
    """A recurrent node with its weights; `more` are inputs from the sequence lengths on."""
    gates = {"LSTM": 4, "GRU": 3, "RNN": 1}[op]
    shapes = {
        "W": (directions, gates * HIDDEN, width),
        "R": (directions, gates * HIDDEN, HIDDEN),
        "B": (directions, 2 * gates * HIDDEN),
    }
    weights = [stored(f"{name}_{key}", shape, 0) for key, shape in shapes.items()]
    direction = attributes.pop("direction", "bidirectional" if directions == 2 else "forward")
    results = [f"{name}_{part}" if part in outputs else "" for part in ("Y", "Y_h", "Y_c")]
    while not results[-1]:
        results.pop()
    node = helper.make_node(
        *(op, [reads, *(w.name for w in weights), *more], results),
        name=name,
        hidden_size=HIDDEN,
        direction=direction,
        **attributes,
    )
    return [node], weights


def model_of(parts, outputs, inputs=(), opset=17):
    nodes, weights = [n for p in parts for n in p[0]], {w.name: w for p in parts for w in p[1]}
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, ["time", "batch", INPUTS])
    results = [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name, shape in outputs.items()]
    graph = helper.make_graph(nodes, "g", [x, *inputs], results, list(weights.values()))
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)
    return onnx.shape_inference.infer_shapes(model)


def one(**more):
    y = {"l_Y": ["time", more.get("directions", 1), "batch", HIDDEN]}
    return model_of([layer("l", "x", INPUTS, **more)], y)


def stacked():
    """Two of both directions, the second one's last states alone, and a product behind."""
    first = layer("l", "x", INPUTS, directions=2)
    nodes = [
        helper.make_node("Transpose", ["l_Y"], ["t"], name="t", perm=[0, 2, 1, 3]),
        helper.make_node("Reshape", ["t", "flat"], ["r"], name="r"),
    ]
    second = layer("m", "r", 2 * HIDDEN, directions=2, outputs=("Y_h",))
    tail = [
        helper.make_node("Transpose", ["m_Y_h"], ["h"], name="h", perm=[1, 0, 2]),
        helper.make_node("Reshape", ["h", "wide"], ["f"], name="f"),
        helper.make_node("MatMul", ["f", "head"], ["y"], name="mm"),
    ]
    sizes = [
        numpy_helper.from_array(np.array([0, 0, -1]), "flat"),
        numpy_helper.from_array(np.array([0, 2 * HIDDEN]), "wide"),
    ]
    return model_of([first, (nodes, sizes), second, (tail, [stored("head", (2 * HIDDEN, 5), 0)])], {"y": ["batch", 5]})


def with_states():
    """Initial states and lengths are inputs, peepholes are read, and all three results leave the graph."""
    inputs = [
        helper.make_tensor_value_info("lengths", TensorProto.INT32, ["batch"]),
        helper.make_tensor_value_info("h0", TensorProto.FLOAT, [1, "batch", HIDDEN]),
        helper.make_tensor_value_info("c0", TensorProto.FLOAT, [1, "batch", HIDDEN]),
    ]
    more = ("lengths", "h0", "c0", "l_P")
    nodes, weights = layer("l", "x", INPUTS, more=more, outputs=("Y", "Y_h", "Y_c"))
    state = [1, "batch", HIDDEN]
    outputs = {"l_Y": ["time", *state], "l_Y_h": state, "l_Y_c": state}
    return model_of([(nodes, [*weights, stored("l_P", (1, 3 * HIDDEN), 0)])], outputs, inputs)


def shared():
    """Two layers with the same weights, as a siamese network has, both read by one product."""
    first, second = layer("l", "x", INPUTS), layer("m", "flipped", INPUTS)
    second[0][0].input[1:4] = first[0][0].input[1:4]
    flip = [helper.make_node("Neg", ["x"], ["flipped"], name="neg")]
    join = [helper.make_node("Sub", ["l_Y", "m_Y"], ["y"], name="sub")]
    return model_of([first, (flip, []), (second[0], []), (join, [])], {"y": ["time", 1, "batch", HIDDEN]})


MODELS = {
    "plain": one,
    "reverse": lambda: one(direction="reverse"),
    "bidirectional": lambda: one(directions=2),
    "stacked": stacked,
    "states": with_states,
    "shared": shared,
    "clipped": lambda: one(clip=0.4, input_forget=1),
}


def feed(model, time=7, seed=0, batch=BATCH):
    rng = np.random.default_rng(seed)
    shapes = {"x": (time, batch, INPUTS), "h0": (1, batch, HIDDEN), "c0": (1, batch, HIDDEN)}
    given = {
        name: rng.normal(size=shape).astype(np.float32) * (1 if name == "x" else 0.3) for name, shape in shapes.items()
    }
    given["lengths"] = np.linspace(2, time, batch).astype(np.int32)
    return {v.name: given[v.name] for v in model.graph.input}


def to_int8(model, target, directory, exclude=()):
    """The int8 graph, its placement, and what makes it anew."""
    onnx.save(model, directory / "float.onnx")
    graph = read_graph(directory / "float.onnx")
    scheme, weights = load_target(target).scheme, [node.input[1] for node in model.graph.node if node.op_type == "LSTM"]
    if len(set(weights)) < len(weights):  # which exact kernels do not take where a processor's own saturate
        scheme = replace(scheme, exact_with=("avx_vnni", "avx512_vnni")).on(this_machine().isa)
    feeds = checked(lambda: (feed(model, seed=seed) for seed in range(4)), graph.inputs, "test")
    quantizer = Quantizer.of(graph, scheme, exclude)
    statistics = collect(graph, quantizer.placement.observed(), feeds)
    quantizer.write(statistics, directory / "int8.onnx")
    return graph, quantizer.placement, statistics


def run(path, given):
    session = opened(path)
    return dict(zip([o.name for o in session.get_outputs()], session.run(None, given), strict=True))


def ratio(expected, found):
    return decibel(float(((expected.astype(float) - found) ** 2).sum() / (expected.astype(float) ** 2).sum()))


@onnxruntime_targets
@pytest.mark.parametrize("kind", MODELS)
def test_an_lstm_runs_in_integers_and_agrees(kind, target, tmp_path):
    model = MODELS[kind]()
    graph, placement, _ = to_int8(model, target, tmp_path)
    assert not placement.left
    int8 = onnx.load(tmp_path / "int8.onnx")
    operators = [node.op_type for node in int8.graph.node]
    assert operators.count("DynamicQuantizeLSTM") == len(placement.dynamic) > 0 and "LSTM" not in operators
    # Another length, another batch and other values than were seen.
    given = feed(model, time=11, seed=9, batch=5)
    expected, found = run(graph.path, given), run(tmp_path / "int8.onnx", given)
    assert expected.keys() == found.keys()
    assert all(ratio(expected[name], found[name]) > 30 for name in expected)
    assert size(int8) < 0.45 * size(model)
    assert onnx.load(tmp_path / "int8.onnx").graph.output[0].name == model.graph.output[0].name


def size(model):
    return sum(numpy_helper.to_array(tensor).nbytes for tensor in model.graph.initializer)


@pytest.mark.parametrize("kind", ["plain", "bidirectional", "states", "shared"])
def test_a_sample_far_beyond_what_was_seen_does_not_take_the_others_along(kind, tmp_path):
    model = MODELS[kind]()
    graph, _, _ = to_int8(model, "server-cpu", tmp_path)
    given = feed(model, time=9, seed=4, batch=5)
    given["x"][3, 1, 2] = 1e4
    expected, found = run(graph.path, given), run(tmp_path / "int8.onnx", given)
    others = [0, 2, 3, 4]
    assert all(ratio(v.take(others, -2), found[name].take(others, -2)) > 25 for name, v in expected.items())


def test_a_weight_of_two_layers_is_stored_once(tmp_path):
    to_int8(shared(), "server-cpu", tmp_path)
    tensors = onnx.load(tmp_path / "int8.onnx").graph.initializer
    assert len([t for t in tensors if t.data_type == TensorProto.INT8 and len(t.dims) == 3]) == 2


@onnxruntime_targets
def test_the_runtime_says_that_it_multiplies_integers(target, tmp_path):
    graph, _, _ = to_int8(stacked(), target, tmp_path)
    chosen, backend = load_target(target), load_backend("onnxruntime")
    engine = backend.compile(replace(graph, path=tmp_path / "int8.onnx"), chosen, tmp_path, "int8")
    layers = [layer for layer in backend.inspect(engine, feed(stacked())) if layer.compute]
    assert [(layer.operator, layer.integer) for layer in layers if layer.name in "lm"] == [
        ("DynamicQuantizeLSTM", True)
    ] * 2


def computed():
    """Its recurrent weight depends on the input."""
    nodes, weights = layer("l", "x", INPUTS)
    nodes.insert(0, helper.make_node("ReduceMax", ["x"], ["most"], name="most", keepdims=0))
    nodes.insert(1, helper.make_node("Mul", ["l_R", "most"], ["scaled"], name="scaled"))
    nodes[2].input[2] = "scaled"
    return model_of([(nodes, weights)], {"l_Y": ["time", 1, "batch", HIDDEN]})


def first_axis():
    nodes, weights = layer("l", "x", INPUTS, layout=1)
    return model_of([(nodes, weights)], {"l_Y": ["time", "batch", 1, HIDDEN]})


@pytest.mark.parametrize(
    ("model", "target", "words"),
    [
        (lambda: one(op="GRU"), "server-cpu", "onnxruntime has no integer kernel of it"),
        (lambda: one(op="RNN"), "mobile", "onnxruntime has no integer kernel of it"),
        (one, "jetson", "LSTM has no int8 form in Q/DQ"),
        (one, "cpu", "takes the weight scales of two gates for each other"),
        (lambda: one(op="GRU"), "cpu", "OpenVINO has no int8 kernel of a GRU as torch has it"),
        (computed, "server-cpu", "its weights are computed"),
        (first_axis, "server-cpu", "layout 1"),
    ],
)
def test_what_stays_float_says_why(model, target, words, tmp_path):
    onnx.save(model(), tmp_path / "m.onnx")
    placement = Quantizer.of(read_graph(tmp_path / "m.onnx"), load_target(target).scheme).placement
    assert not placement.layers and words in placement.left["l"]


def test_an_lstm_that_the_user_excludes_stays_float(tmp_path):
    _, placement, _ = to_int8(stacked(), "server-cpu", tmp_path, exclude=("m",))
    assert placement.left == {"m": "excluded by the user"} and [n.name for n in placement.dynamic] == ["l"]
    assert [n.op_type for n in onnx.load(tmp_path / "int8.onnx").graph.node].count("LSTM") == 1


def test_other_integers_than_the_kernel_takes_leave_it_float(tmp_path):
    onnx.save(one(), tmp_path / "m.onnx")
    blocks = Grid(bits=4, signed=True, symmetric=True, granularity="block", block=32)
    scheme = replace(load_target("server-cpu").scheme, weight=blocks, bias="float")
    graph = replace(read_graph(tmp_path / "m.onnx"), opset=21)
    model = onnx.load(graph.path)
    model.opset_import[0].version = 21
    onnx.save(model, graph.path)
    assert "its integer kernel takes weights of int8" in Quantizer.of(graph, scheme).placement.left["l"]


def joined():
    """Weights joined of constants, as an exporter writes those of both directions."""
    model = one(directions=2)
    names = [model.graph.node[0].input[index] for index in (1, 2)]
    for index, name in zip((1, 2), names, strict=True):
        (whole,) = [t for t in model.graph.initializer if t.name == name]
        halves = np.split(numpy_helper.to_array(whole), 2)
        model.graph.initializer.remove(whole)
        model.graph.initializer.extend(numpy_helper.from_array(h, f"{name}{i}") for i, h in enumerate(halves))
        model.graph.node.insert(0, helper.make_node("Concat", [f"{name}0", f"{name}1"], [f"{name}_j"], axis=0))
        model.graph.node[-1].input[index] = f"{name}_j"
    return model


def test_weights_that_are_computed_from_constants_are_weights(tmp_path):
    model = joined()
    graph, placement, statistics = to_int8(model, "server-cpu", tmp_path)
    assert not placement.left and len(placement.dynamic) == 1
    fresh, given = Quantizer.of(graph, load_target("server-cpu").scheme), feed(model, seed=5)
    noise = measure_noise(fresh, graph, statistics, given, (), tmp_path)
    found = ratio(run(graph.path, given)["l_Y"], run(tmp_path / "int8.onnx", given)["l_Y"])
    np.testing.assert_allclose(noise.predicted_db(), found, atol=0.1)


@pytest.mark.parametrize("kind", ["stacked", "states"])
def test_the_noise_of_an_lstm_is_that_of_its_own_kernel(kind, tmp_path):
    """One layer alone in integers, as shipped, against its switch; both together against the sum."""
    model = MODELS[kind]()
    graph, placement, statistics = to_int8(model, "server-cpu", tmp_path)
    given, fresh = feed(model, seed=5, batch=4), Quantizer.of(graph, load_target("server-cpu").scheme)
    noise = measure_noise(fresh, graph, statistics, given, (), tmp_path)
    assert noise.layers == {name: node.op_type for name, node in placement.layers.items()}
    assert all(noise.why.values())
    expected = run(graph.path, given)
    for name in (node.name for node in placement.dynamic):
        others = tuple(other for other in placement.layers if other != name)
        to_int8(model, "server-cpu", tmp_path, exclude=others)
        found = run(tmp_path / "int8.onnx", given)
        alone = [ratio(expected[output], found[output]) for output in expected]
        np.testing.assert_allclose([decibel(one) for one in noise.of(name)], alone, atol=0.1)
    assert noise.predicted_db(tuple(placement.layers)) == np.inf > noise.predicted_db()


def test_parity_by_layer_names_lstms(tmp_path):
    model = stacked()
    graph, _, statistics = to_int8(model, "server-cpu", tmp_path)
    fresh = Quantizer.of(graph, load_target("server-cpu").scheme)
    found = layer_parity(fresh, graph, statistics, feed(model, seed=5), tmp_path)
    assert {one.layer: one.operator for one in found.layers} == {"l": "LSTM", "m": "LSTM", "mm": "MatMul"}
    assert all(20 < one.sqnr_db < 90 for one in found.layers)


def test_an_lstm_is_a_layer_that_can_be_to_blame(tmp_path):
    to_int8(stacked(), "server-cpu", tmp_path)
    nodes = {node.name: node for node in read_model(tmp_path / "int8.onnx").graph}
    assert next(iter(_regions(nodes["m"]))) == ("m",)
    assert list(_regions(nodes["t"])) == [("m",), ("l", "m")]


def test_the_integers_are_those_of_torch_too(tmp_path):
    """torch's own layer, its weights rounded to the same grid, is what the kernel computes but for its activations."""
    torch.manual_seed(0)
    lstm = torch.nn.LSTM(INPUTS, HIDDEN)
    order = [0, 3, 1, 2]  # torch has input, forget, cell, output; ONNX input, output, forget, cell

    def onnx_order(tensor):
        return tensor.detach().numpy().reshape(4, HIDDEN, -1)[order].reshape(4 * HIDDEN, -1)

    model = one()
    arrays = {
        "l_W": onnx_order(lstm.weight_ih_l0)[None],
        "l_R": onnx_order(lstm.weight_hh_l0)[None],
        "l_B": np.concatenate([onnx_order(lstm.bias_ih_l0), onnx_order(lstm.bias_hh_l0)]).reshape(1, -1),
    }
    for tensor in model.graph.initializer:
        tensor.CopyFrom(numpy_helper.from_array(arrays[tensor.name], tensor.name))
    to_int8(model, "server-cpu", tmp_path)
    given = feed(model, time=30, seed=3)
    found = run(tmp_path / "int8.onnx", given)["l_Y"][:, 0]
    with torch.no_grad():
        plain = lstm(torch.from_numpy(given["x"]))[0].numpy()
        assert ratio(plain, found) > 30
        for weight in (lstm.weight_ih_l0, lstm.weight_hh_l0):
            step = weight.abs().amax(1, keepdim=True) / 127
            weight.copy_((weight / step).round() * step)
        rounded = lstm(torch.from_numpy(given["x"]))[0].numpy()
    assert ratio(rounded, found) > ratio(plain, found) - 1
