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
from onnx import TensorProto, helper

from edgepress.backends.base import Array, AxisRange
from edgepress.backends.registry import load_backend
from edgepress.exporter.graphs.files import read_graph
from edgepress.exporter.lint.finding import Finding
from edgepress.exporter.lint.run import RULES, by_rules
from edgepress.profiles.device.grid import Grid
from edgepress.profiles.device.target import load_target
from edgepress.profiles.findings.layers import Layer

from ._net import BATCH, SHAPE, Net, float_net, int8_net

TARGETS = ("cpu", "server-cpu", "rpi5", "jetson", "jetson-agx-xavier", "rtx")
ASKED = ("cpu", "server-cpu", "jetson")
SYMMETRIC = Grid(bits=8, signed=True, symmetric=True)
ASYMMETRIC = Grid(bits=8, signed=True, symmetric=False)
Plant = Callable[[Net], None]


@pytest.fixture(scope="module")
def int8(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Net]:
    """A fresh copy of the network in a target's int8, each made once."""
    made: dict[str, onnx.ModelProto] = {}

    def get(target: str, **changed: object) -> Net:
        key = f"{target} {changed}"
        if key not in made:
            made[key] = int8_net(target, tmp_path_factory.mktemp("int8"), **changed).model
        copy = onnx.ModelProto()
        copy.CopyFrom(made[key])
        return Net(copy)

    return get


@pytest.mark.parametrize("target", TARGETS)
def test_nothing_is_found_in_what_edgepress_writes(int8: Callable[..., Net], target: str, tmp_path: Path) -> None:
    assert int8(target).ruled(tmp_path / "m.onnx", target) == ()


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


def by_rule(findings: tuple[Finding, ...], rule: str) -> tuple[Finding, ...]:
    """Those of one rule; no other may find any."""
    assert {one.rule for one in findings} <= {rule}, findings
    return findings


def said_in_full(found: Finding) -> None:
    assert found.said
    assert not found.said.endswith(".")
    assert found.remedy.endswith(".")
    assert len(found.source) > 20
    assert "\n" not in found.source


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


def grown(net: Net, operator: str, *, domain: str = "", **attributes: object) -> Net:
    """The network with one more node between its last Relu and the mean."""
    net.node("mean").input[0] = "grown"
    net.insert(helper.make_node(operator, ["tr"], ["grown"], "grown", domain=domain, **attributes), before="mean")
    return net


def test_an_opset_beyond_the_parser(tmp_path: Path) -> None:
    """From opset 18 on the axes of a ReduceMean are an input, which the parser of JetPack 4 and 5 passes over."""
    net = float_net(18)
    net.node("mean").op_type = "ReduceMean"
    net.node("mean").input.append(net.put("axes", np.array([2, 3])))
    for target in ("jetson-nano", "jetson-agx-xavier"):
        (found,) = net.ruled(tmp_path / "m.onnx", target)
        assert (found.rule, found.severity, found.node, found.operator) == ("opset", "error", "mean", "ReduceMean")
        said_in_full(found)
    assert net.ruled(tmp_path / "m.onnx", "jetson") == ()


def test_a_number_alone_is_a_warning(tmp_path: Path) -> None:
    net = float_net(15)
    assert [(one.rule, one.severity) for one in net.ruled(tmp_path / "m.onnx", "jetson-nano")] == [("opset", "warning")]


def test_an_operator_that_the_opset_does_not_have(tmp_path: Path) -> None:
    report = grown(float_net(), "HardSwish").linted(tmp_path / "m.onnx", "server-cpu")
    (found,) = report.errors
    assert (found.rule, found.node) == ("defined", "grown")
    assert "opset 14 brought" in found.said
    assert "No parser was asked" in report.unparsed


def test_an_operator_that_the_devices_parser_does_not_have(tmp_path: Path) -> None:
    """TensorRT 8.2 has no Shrink, which 8.5 and the stand-in have."""
    (found,) = grown(float_net(), "Shrink").ruled(tmp_path / "m.onnx", "jetson-nano")
    assert (found.rule, found.severity, found.operator) == ("operators", "error", "Shrink")
    assert grown(float_net(), "Shrink").ruled(tmp_path / "m.onnx", "jetson-agx-xavier") == ()


@pytest.mark.parametrize(("target", "rule"), [("jetson", "parser"), ("jetson-agx-xavier", "operators")])
def test_operators_of_integers_for_tensorrt(tmp_path: Path, target: str, rule: str) -> None:
    net = float_net()
    scale, zero = net.put("scale", np.float32(0.1)), net.put("zero", np.uint8(0))
    weight = net.put("weight", np.ones((16, 16, 1, 1), np.int8))
    weight_zero = net.put("weight_zero", np.int8(0))
    for node in (
        helper.make_node("QuantizeLinear", ["tr", scale, zero], ["tr_q"], "before"),
        helper.make_node(
            "QLinearConv", ["tr_q", scale, zero, weight, scale, weight_zero, scale, zero], ["p"], "product"
        ),
        helper.make_node("DequantizeLinear", ["p", scale, zero], ["grown"], "behind"),
    ):
        net.insert(node, before="mean")
    net.node("mean").input[0] = "grown"
    assert ("product", rule) in {(one.node, one.rule) for one in net.linted(tmp_path / "m.onnx", target).errors}


@pytest.mark.parametrize("target", ["server-cpu", "cpu", "jetson"])
def test_an_operator_of_nobodys(tmp_path: Path, target: str) -> None:
    net = grown(float_net(), "Sharpen", domain="com.example")
    net.model.opset_import.append(helper.make_opsetid("com.example", 1))
    assert "grown" in {one.node for one in net.linted(tmp_path / "m.onnx", target).errors if one.rule == "parser"}


def test_element_types_that_the_parser_does_not_read(tmp_path: Path) -> None:
    net = grown(float_net(), "Cast", to=TensorProto.UINT16)
    net.node("mean").input[0] = "grown_back"
    net.insert(helper.make_node("Cast", ["grown"], ["grown_back"], "back", to=TensorProto.FLOAT), before="mean")
    (found,) = by_rule(net.ruled(tmp_path / "m.onnx", "jetson-agx-xavier"), "types")
    assert (found.node, found.operator) == ("grown", "Cast")
    assert "uint16" in found.said


def test_free_axes_that_need_a_range_or_a_size(tmp_path: Path) -> None:
    net = float_net()
    (found,) = net.ruled(tmp_path / "m.onnx", "jetson", axes={})
    assert (found.rule, found.severity) == ("shapes", "warning")
    assert "--axis batch=MIN:USUAL:MAX" in found.remedy
    assert net.ruled(tmp_path / "m.onnx", "server-cpu", axes={}) == ()
    target = load_target("server-cpu")
    fixed = replace(target, toolchain=replace(target.toolchain, shapes="fixed"))
    (found,) = by_rules(tmp_path / "m.onnx", fixed, BATCH)
    assert (found.rule, found.severity) == ("shapes", "error")


def test_memory_that_the_device_does_not_have(tmp_path: Path) -> None:
    """A value of 16 x 8 x 8 floats is 4 KiB: a Concat reads and writes four, of a million samples 15.3 GiB."""
    net, axes = float_net(), {"batch": AxisRange(smallest=1, usual=1, largest=10**6)}
    (found,) = net.ruled(tmp_path / "m.onnx", "jetson-nano", axes)
    assert (found.rule, found.severity) == ("memory", "error")
    assert "4 GB" in found.said
    (found,) = net.ruled(tmp_path / "m.onnx", "rpi5", axes)
    assert (found.rule, found.severity) == ("memory", "warning"), "its largest has 16 GB"
    assert net.ruled(tmp_path / "m.onnx", "jetson-agx-orin-64gb", axes) == ()


def test_constants_beyond_float16(tmp_path: Path) -> None:
    net = float_net()
    weight = net.constant("left_w").copy()
    weight[0, 0, 0, 0] = 1e5
    net.put("left_w", weight)
    (found,) = net.ruled(tmp_path / "m.onnx", "jetson")
    assert (found.rule, found.severity, found.node) == ("fp16-range", "warning", "left")
    assert net.ruled(tmp_path / "m.onnx", "cpu") == (), "it has no float16"


def test_a_weight_that_is_infinite_in_float16_already(tmp_path: Path) -> None:
    net = float_net()
    net.put("half_w", np.full((16, 16, 1, 1), np.inf, np.float16))
    for node in (
        helper.make_node("Cast", ["tr"], ["half"], "down", to=TensorProto.FLOAT16),
        helper.make_node("Conv", ["half", "half_w"], ["wide"], "product"),
        helper.make_node("Cast", ["wide"], ["grown"], "up", to=TensorProto.FLOAT),
    ):
        net.insert(node, before="mean")
    net.node("mean").input[0] = "grown"
    (found,) = net.ruled(tmp_path / "m.onnx", "rtx")
    assert (found.rule, found.severity, found.node) == ("fp16-range", "error", "product")


def test_a_mask_is_no_overflow(tmp_path: Path) -> None:
    net = float_net()
    net.put("mask", np.float32(-3.4e38))
    for node in (
        helper.make_node("Add", ["tr", "mask"], ["masked"], "masked"),
        helper.make_node("Softmax", ["masked"], ["grown"], "softmax"),
    ):
        net.insert(node, before="mean")
    net.node("mean").input[0] = "grown"
    assert net.ruled(tmp_path / "m.onnx", "jetson") == ()


def test_integers_where_the_target_has_none(int8: Callable[..., Net], tmp_path: Path) -> None:
    for target in ("jetson-nano", "ios"):
        (found,) = int8("rtx").ruled(tmp_path / "m.onnx", target)
        assert (found.rule, found.severity) == ("integers", "warning")


def test_a_convolution_that_openvino_computes_wrongly(int8: Callable[..., Net], tmp_path: Path) -> None:
    """16 input channels times 12 taps are three times 64."""
    net = int8("cpu")
    node = next(n for n in net.model.graph.node if n.output[0] == net.node("left").input[1])
    node.input[0] = net.put("wide", np.ones((16, 16, 3, 12), np.int8))
    conv = net.node("left")
    del conv.attribute[:]
    conv.attribute.extend([helper.make_attribute("kernel_shape", [3, 12]), helper.make_attribute("pads", [1, 5, 1, 6])])
    (found,) = net.ruled(tmp_path / "m.onnx", "cpu")
    assert (found.rule, found.severity, found.node) == ("left", "error", "left")


def test_a_reduction_that_openvino_computes_wrongly(int8: Callable[..., Net], tmp_path: Path) -> None:
    net = int8("cpu")
    net.node("mean").CopyFrom(helper.make_node("ReduceMean", ["tr"], ["mean"], "mean", axes=[2, 3], keepdims=0))
    net.put("factor", np.ones(16, np.float32))
    for node in (helper.make_node("Mul", ["mean", "factor"], ["scaled"], "scaled"),):
        net.insert(node, before="flat")
    net.node("flat").input[0] = net.rounded("scaled", "sr", before="flat")
    assert [(one.rule, one.node) for one in net.ruled(tmp_path / "m.onnx", "cpu")] == [("reduced", "mean")]


def test_every_rule_finds_something_here() -> None:
    """A rule without a planted fault would be one that nobody has seen work."""
    text = Path(__file__).read_text(encoding="utf-8")
    assert [name for name in RULES.names() if f'"{name}"' not in text] == []
