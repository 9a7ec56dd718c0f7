"""Every planted fault is found, by its rule, at its node, and nothing is found where none was planted."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import helper

from edgepress.backends.base import Array
from edgepress.backends.registry import load_backend
from edgepress.exporter.graphs.files import read_graph
from edgepress.profiles.device.grid import Grid
from edgepress.profiles.device.target import load_target
from edgepress.profiles.findings.layers import Layer

from ._net import BATCH, SHAPE, Net, by_rule, float_net, int8_net, said_in_full

TARGETS = ("cpu", "server-cpu", "rpi5", "jetson", "jetson-agx-xavier", "rtx")
ASKED = ("cpu", "server-cpu", "jetson")
SYMMETRIC = Grid(bits=8, signed=True, symmetric=True)
ASYMMETRIC = Grid(bits=8, signed=True, symmetric=False)
Plant = Callable[[Net], None]


@pytest.mark.parametrize("target", TARGETS)
def test_nothing_is_found_in_what_edgepress_writes(int8: Callable[..., Net], target: str, tmp_path: Path) -> None:
    assert int8(target).ruled(tmp_path / "m.onnx", target) == ()


@pytest.mark.parametrize("target", ["server-cpu", "rpi5"])
def test_a_scale_of_a_bias_may_vanish(target: str, tmp_path: Path) -> None:
    """It is a product of two scales that do not, and no number is divided by it."""
    net = int8_net(target, tmp_path, size=1e-34)
    scales = [net.constant(n.input[1]) for n in net.model.graph.node if n.op_type == "DequantizeLinear"]
    assert min(float(scale.min()) for scale in scales) < np.finfo(np.float32).tiny
    assert net.ruled(tmp_path / "m.onnx", target) == ()


def test_a_bound_of_one_element_is_a_number(int8: Callable[..., Net], tmp_path: Path) -> None:
    net = int8("server-cpu")
    node = net.node("left_relu")
    node.op_type = "Clip"
    node.input.append(net.put("least", np.zeros(1, np.float32)))
    assert net.ruled(tmp_path / "m.onnx", "server-cpu") == ()


def test_a_zero_point_that_is_left_out_is_zero(int8: Callable[..., Net], tmp_path: Path) -> None:
    net = int8("jetson")
    del net.pair("rr")[1].input[2]
    assert net.ruled(tmp_path / "m.onnx", "jetson") == ()


@pytest.mark.parametrize("target", ASKED)
def test_nor_does_a_parser_find_anything(int8: Callable[..., Net], target: str, tmp_path: Path) -> None:
    report = int8(target).linted(tmp_path / "m.onnx", target)
    assert report.findings == ()
    assert report.parser


@pytest.mark.parametrize("target", [*TARGETS, "jetson-nano", "ios"])
def test_nothing_is_found_in_a_float_graph(target: str, tmp_path: Path) -> None:
    assert float_net().ruled(tmp_path / "m.onnx", target) == ()


def unsigned_zero(net: Net) -> None:
    net.round_in("sr", np.uint8(0))


def shifted_zero(net: Net) -> None:
    net.round_in("sr", np.int8(5))


def no_zero(net: Net) -> None:
    for node in net.pair("sr"):
        del node.input[2]


def unsigned_weight(net: Net) -> None:
    """The weight of `left`, stored with the zero point 128: the same numbers."""
    node = next(n for n in net.model.graph.node if n.output[0] == net.node("left").input[1])
    node.input[0] = net.put("left_u8", (net.constant(node.input[0]).astype(np.int16) + 128).astype(np.uint8))
    node.input[2] = net.put("left_u8_zero", np.full(16, 128, np.uint8))


def integer_bias(net: Net) -> None:
    scale, zero = net.put("bias_scale", np.full(16, 1e-4, np.float32)), net.put("bias_zero", np.zeros(16, np.int32))
    data = net.put("bias_q", np.arange(16, dtype=np.int32))
    made = helper.make_node("DequantizeLinear", [data, scale, zero], ["bias_dq"], "bias", axis=0)
    net.insert(made, before="left")
    net.node("left").input[2] = "bias_dq"


def scales_of_an_activation(net: Net) -> None:
    zero = net.constant(net.pair("sr")[0].input[2])
    net.round_in("sr", np.full(16, zero), np.full(16, 0.05, np.float32), axis=1)


def scales_along_inputs(net: Net) -> None:
    node = next(n for n in net.model.graph.node if n.output[0] == net.node("left").input[1])
    pair = [node, *(n for n in net.model.graph.node if n.output[0] == node.input[0])]
    for one in pair:
        del one.attribute[:]
        one.attribute.append(helper.make_attribute("axis", 1))


def scale_of_nothing(net: Net) -> None:
    net.round_in("sr", net.constant(net.pair("sr")[0].input[2]), np.float32(0))


def rounded_before_the_add(net: Net) -> None:
    net.node("join").input[0] = net.rounded("a", "sr", before="join")


def float_into_the_add(net: Net) -> None:
    net.node("join").input[0] = "a"
    for node in net.pair("a"):
        net.model.graph.node.remove(node)


def two_scales_at_the_concat(net: Net) -> None:
    net.round_in("rr", net.constant(net.pair("rr")[0].input[2]), np.float32(0.5))


def result_left_float(net: Net) -> None:
    net.node("both").input[0] = "lr"
    for node in net.pair("lr"):
        net.model.graph.node.remove(node)


# What is planted, where, by which rule it is found, how bad it is, and at which node.
INTEGERS: list[tuple[str, Plant, str, str, str]] = [
    ("jetson", unsigned_zero, "integers", "error", "sr_QuantizeLinear"),
    ("jetson", shifted_zero, "integers", "error", "sr_QuantizeLinear"),
    ("jetson", no_zero, "integers", "error", "sr_QuantizeLinear"),
    ("jetson", integer_bias, "integers", "error", "bias"),
    ("jetson", scales_of_an_activation, "granularity", "error", "sr_QuantizeLinear"),
    ("cpu", scales_of_an_activation, "granularity", "warning", "sr_QuantizeLinear"),
    ("server-cpu", scales_of_an_activation, "granularity", "warning", "sr_QuantizeLinear"),
    ("jetson", scales_along_inputs, "granularity", "error", "left"),
    ("cpu", scales_along_inputs, "granularity", "warning", "left"),
    ("server-cpu", scales_along_inputs, "granularity", "error", "left"),
    ("rpi5", scales_along_inputs, "granularity", "error", "left"),
    ("jetson", scale_of_nothing, "granularity", "error", "sr_QuantizeLinear"),
    ("cpu", scale_of_nothing, "granularity", "error", "sr_QuantizeLinear"),
    ("jetson", rounded_before_the_add, "residual", "warning", "join"),
    ("cpu", float_into_the_add, "residual", "warning", "join"),
    ("jetson", two_scales_at_the_concat, "shared-scale", "warning", "both"),
    ("cpu", two_scales_at_the_concat, "shared-scale", "warning", "both"),
    ("server-cpu", two_scales_at_the_concat, "shared-scale", "warning", "both"),
    ("cpu", unsigned_weight, "integers", "warning", "left_w_DequantizeLinear"),
    ("server-cpu", unsigned_weight, "integers", "warning", "left_w_DequantizeLinear"),
    ("server-cpu", result_left_float, "result", "warning", "left"),
    ("rpi5", result_left_float, "result", "warning", "left"),
]


@pytest.mark.parametrize(("target", "plant", "rule", "severity", "node"), INTEGERS)
def test_a_fault_in_the_integers_is_found(
    int8: Callable[..., Net], target: str, plant: Plant, rule: str, severity: str, node: str, tmp_path: Path
) -> None:
    net = int8(target)
    plant(net)
    (found,) = by_rule(net.ruled(tmp_path / "m.onnx", target), rule)
    assert (found.severity, found.node) == (severity, node)
    said_in_full(found)


OTHERS = [
    ("server-cpu", SYMMETRIC, {"integers", "result"}),
    ("rpi5", SYMMETRIC, {"result"}),
    ("cpu", ASYMMETRIC, {"integers"}),
]


@pytest.mark.parametrize(("target", "grid", "rules"), OTHERS)
def test_activations_in_integers_that_another_runtime_wants(
    int8: Callable[..., Net], target: str, grid: Grid, rules: set[str], tmp_path: Path
) -> None:
    found = int8(target, activation=grid).ruled(tmp_path / "m.onnx", target)
    assert {one.rule for one in found} == rules
    assert all(one.severity == "warning" for one in found)


def test_for_tensorrt_the_integers_of_a_cpu_are_errors_every_one(int8: Callable[..., Net], tmp_path: Path) -> None:
    found = int8("server-cpu").ruled(tmp_path / "m.onnx", "jetson")
    wrong = {one.node for one in found if (one.rule, one.severity) == ("integers", "error")}
    activations = {f"{v}_QuantizeLinear" for v in ("x", "sr", "a", "lr", "rr", "both", "flat", "sum_r")}
    biases = {f"{name}_b_DequantizeLinear" for name in ("stem", "one", "left", "right", "last")}
    assert activations | biases <= wrong


FEED = {"x": np.random.default_rng(0).normal(size=(2, *SHAPE)).astype(np.float32)}


def ran(directory: Path, target: str) -> tuple[tuple[Layer, ...], dict[str, Array]]:
    """The kernels that the graph in a directory runs on, and what comes out."""
    graph, asked = replace(read_graph(directory / "m.onnx"), axes=BATCH), load_target(target)
    backend, made = load_backend(asked.backend), Path(tempfile.mkdtemp(dir=directory))
    engine = backend.compile(graph, asked, made, "int8")
    with backend.open(engine) as session:
        return backend.inspect(engine, FEED), session(FEED)


@pytest.mark.parametrize("target", ["server-cpu", "rpi5"])
@pytest.mark.parametrize("symmetric", [True, False])
def test_what_is_said_to_run_in_float_does_and_nothing_else(
    int8: Callable[..., Net], target: str, symmetric: bool, tmp_path: Path
) -> None:
    """By the kernels that ran."""
    net = int8(target, activation=SYMMETRIC) if symmetric else int8(target)
    if not symmetric:
        result_left_float(net)
    warned = {one.node for one in net.ruled(tmp_path / "m.onnx", target) if one.rule == "result"}
    layers, _ = ran(tmp_path, target)
    floats = [layer.name for layer in layers if layer.compute and not layer.integer]
    assert warned
    # On x86 one more is float with s8: that of the residual branch, about whose integers `integers` warns.
    assert set(floats) - warned <= ({"one"} if symmetric and target == "server-cpu" else set())
    assert warned <= set(floats)


def as_written(path: Path) -> np.ndarray:
    """What the graph says: onnxruntime's answer where it optimizes nothing."""
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    return session.run(["y"], dict(FEED))[0]


FLOAT_ON_OPENVINO = [(unsigned_weight, "left"), (scales_along_inputs, "left"), (two_scales_at_the_concat, "last")]


@pytest.mark.parametrize(("plant", "layer"), FLOAT_ON_OPENVINO)
def test_what_openvino_is_said_to_compute_in_float(
    int8: Callable[..., Net], plant: Plant, layer: str, tmp_path: Path
) -> None:
    net = int8("cpu")
    plant(net)
    assert [one.severity for one in net.ruled(tmp_path / "m.onnx", "cpu")] == ["warning"]
    layers, _ = ran(tmp_path, "cpu")
    assert [one.name for one in layers if one.compute and not one.integer] == [layer]


def test_onnxruntime_computes_something_else_with_scales_along_inputs(int8: Callable[..., Net], tmp_path: Path) -> None:
    """Which is why that is an error there; beside it the graph as it was written."""
    whole, wrong = int8("rpi5"), int8("rpi5")
    scales_along_inputs(wrong)
    found = []
    for net in (whole, wrong):
        onnx.save(net.model, tmp_path / "m.onnx")
        layers, outputs = ran(tmp_path, "rpi5")
        assert all(one.integer for one in layers if one.compute)
        wanted = as_written(tmp_path / "m.onnx")
        found.append(float(np.abs(outputs["y"] - wanted).max() / np.abs(wanted).max()))
    assert found[0] < 0.02
    assert found[1] > 0.1
