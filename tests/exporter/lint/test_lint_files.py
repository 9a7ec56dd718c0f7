"""Faults of a file itself, and more that only some targets have: each is found once, at its node."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper

from edgepress.errors import InputError
from edgepress.exporter.graphs.files import read_graph
from edgepress.exporter.lint.finding import Finding
from edgepress.exporter.lint.run import lint
from edgepress.profiles.device.target import load_target

from ._net import BATCH, Net, by_rule, float_net, said_in_full

Plant = Callable[[Net], None]
ALL = ("cpu", "server-cpu", "rpi5", "jetson", "jetson-nano")


def weight_pair(net: Net, name: str) -> list[onnx.NodeProto]:
    """The Q/DQ nodes of a weight, the last one first."""
    last = next(n for n in net.model.graph.node if n.output[0] == net.node(name).input[1])
    return [last, *(n for n in net.model.graph.node if n.output[0] == last.input[0])]


def weight_rounded(net: Net, *, scale: np.ndarray | None = None, axis: int | None = None) -> None:
    """Another scale or axis for the weight of `left`."""
    for node in weight_pair(net, "left"):
        if scale is not None:
            node.input[1] = net.put("left_scale", scale)
        if axis is not None:
            del node.attribute[:]
            node.attribute.append(helper.make_attribute("axis", axis))


def second_scale(net: Net) -> None:
    second = net.pair("sr")[1]
    second.input[1] = net.put("other_scale", net.constant(second.input[1]) * np.float32(10))


def second_zero(net: Net) -> None:
    second = net.pair("sr")[1]
    zero = net.constant(second.input[2])
    second.input[2] = net.put("other_zero", (zero + 3).astype(zero.dtype))


def scale_infinite(net: Net) -> None:
    net.round_in("sr", net.constant(net.pair("sr")[0].input[2]), np.float32(np.inf))


def scale_not_a_number(net: Net) -> None:
    net.round_in("sr", net.constant(net.pair("sr")[0].input[2]), np.float32(np.nan))


def scale_negative(net: Net) -> None:
    net.round_in("sr", net.constant(net.pair("sr")[0].input[2]), np.float32(-0.05))


def scale_vanishing(net: Net) -> None:
    net.round_in("sr", net.constant(net.pair("sr")[0].input[2]), np.float32(1e-42))


def one_scale_missing(net: Net) -> None:
    weight_rounded(net, scale=np.full(15, 0.01, np.float32))


def axis_that_is_none(net: Net) -> None:
    weight_rounded(net, axis=7)


def read_without_a_dequantizer(net: Net) -> None:
    first, second = net.pair("sum_r")
    at = [node.name for node in net.model.graph.node].index(second.name)
    cast = helper.make_node("Cast", [first.output[0]], [second.output[0]], "cast", to=TensorProto.FLOAT)
    net.model.graph.node.remove(second)
    net.model.graph.node.insert(at, cast)


# What is planted, by which rule it is found, how bad it is, and at which node.
FAULTS: list[tuple[Plant, str, str, str]] = [
    (second_scale, "pairs", "warning", "sr_DequantizeLinear"),
    (second_zero, "pairs", "warning", "sr_DequantizeLinear"),
    (scale_infinite, "granularity", "error", "sr_QuantizeLinear"),
    (scale_not_a_number, "granularity", "error", "sr_QuantizeLinear"),
    (scale_negative, "granularity", "error", "sr_QuantizeLinear"),
    (scale_vanishing, "granularity", "error", "sr_QuantizeLinear"),
    (one_scale_missing, "pairs", "error", "left_w"),
    (axis_that_is_none, "pairs", "error", "left_w"),
    (read_without_a_dequantizer, "pairs", "warning", "sum_r_QuantizeLinear"),
]


@pytest.mark.parametrize("target", ALL)
@pytest.mark.parametrize(("plant", "rule", "severity", "node"), FAULTS)
def test_a_fault_of_the_file_is_found_for_every_target(
    int8: Callable[..., Net], target: str, plant: Plant, rule: str, severity: str, node: str, tmp_path: Path
) -> None:
    net = int8("jetson" if target == "jetson-nano" else target)
    plant(net)
    found = [one for one in net.ruled(tmp_path / "m.onnx", target) if not _expected(target, plant, one)]
    (one,) = by_rule(tuple(found), rule)
    assert one.severity == severity
    assert one.node.startswith(node), one
    said_in_full(one)


def _expected(target: str, plant: Plant, found: Finding) -> bool:
    """A GPU without int8 says once that it has none; what reads a Cast's numbers is float, and some targets say so."""
    without = target == "jetson-nano" and found.rule == "integers"
    return without or (plant is read_without_a_dequantizer and found.rule in ("operands", "result", "residual"))


def test_the_integers_of_one_type_read_as_another(int8: Callable[..., Net], tmp_path: Path) -> None:
    net = int8("cpu")
    net.pair("sr")[1].input[2] = net.put("signed_zero", np.int8(0))
    (found,) = by_rule(net.ruled(tmp_path / "m.onnx", "cpu"), "pairs")
    assert (found.severity, found.node) == ("error", "sr_DequantizeLinear")
    assert "reads uint8 from sr_QuantizeLinear as int8" in found.said


def data_left_float(net: Net) -> None:
    net.node("left").input[0] = "sum_r"


@pytest.mark.parametrize("target", ["cpu", "server-cpu", "rpi5", "jetson"])
def test_a_quantized_weight_beside_data_in_float(int8: Callable[..., Net], target: str, tmp_path: Path) -> None:
    net = int8(target)
    data_left_float(net)
    (found,) = by_rule(net.ruled(tmp_path / "m.onnx", target), "operands")
    assert (found.severity, found.node) == ("warning", "left")


def bias_times(net: Net, name: str, factor: float) -> None:
    """The same integers of a bias, with another scale."""
    node = next(n for n in net.model.graph.node if n.output[0] == net.node(name).input[2])
    node.input[1] = net.put("bias_scale", (net.constant(node.input[1]) * factor).astype(np.float32))


@pytest.mark.parametrize("target", ["server-cpu", "rpi5"])
def test_an_integer_bias_of_another_scale(int8: Callable[..., Net], target: str, tmp_path: Path) -> None:
    """A convolution is float then, which is slow. A Gemm takes the bias for one of its products, which is wrong."""
    for name, severity in (("left", "warning"), ("head", "error")):
        net = int8(target)
        bias_times(net, name, 4)
        (found,) = by_rule(net.ruled(tmp_path / "m.onnx", target), "operands")
        assert (found.severity, found.node) == (severity, name)


def test_onnxruntime_does_take_the_bias_of_a_gemm_for_a_product(int8: Callable[..., Net], tmp_path: Path) -> None:
    """Why that is an error: optimized it is another result than the graph's; and as the graph's where scales fit."""
    feed = {"x": np.random.default_rng(0).normal(size=(2, 16, 8, 8)).astype(np.float32)}
    apart = []
    for factor in (1, 50):
        net = int8("server-cpu")
        bias_times(net, "head", factor)
        onnx.save(net.model, tmp_path / "m.onnx")
        plain, usual = (_ran(tmp_path / "m.onnx", level, feed) for level in ("ORT_DISABLE_ALL", "ORT_ENABLE_ALL"))
        apart.append(float(np.abs(plain - usual).max() / np.abs(plain).max()))
    assert apart[0] < 0.05
    assert apart[1] > 0.3


def _ran(path: Path, level: str, feed: dict[str, np.ndarray]) -> np.ndarray:
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = getattr(onnxruntime.GraphOptimizationLevel, level)
    return onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"]).run(["y"], feed)[0]


def test_an_activation_in_four_bits(int8: Callable[..., Net], tmp_path: Path) -> None:
    net = int8("cpu")
    net.model.opset_import[0].version = 21
    net.model.ir_version = 10
    zero = net.pair("sr")[0].input[2]
    for node in net.pair("sr"):
        node.input[2] = "four"
    net.model.graph.initializer.append(helper.make_tensor("four", TensorProto.UINT4, [], [0]))
    assert zero
    for target, severity in (("cpu", "warning"), ("rtx", "error")):
        found = [one for one in net.ruled(tmp_path / "m.onnx", target) if one.node == "sr_QuantizeLinear"]
        assert [(one.rule, one.severity) for one in found] == [("integers", severity)]


def test_a_scale_that_is_computed_while_it_runs(int8: Callable[..., Net], tmp_path: Path) -> None:
    for target, severity in (("cpu", "warning"), ("jetson", "error")):
        net = int8(target)
        net.model.graph.input.append(helper.make_tensor_value_info("fed", TensorProto.FLOAT, []))
        for node in net.pair("sr"):
            node.input[1] = "fed"
        found = {(one.rule, one.severity, one.node) for one in net.ruled(tmp_path / "m.onnx", target)}
        assert ("integers", severity, "sr_QuantizeLinear") in found


def model(nodes: list[onnx.NodeProto], dtype: int = TensorProto.FLOAT, opset: int = 13) -> Net:
    x, y = (helper.make_tensor_value_info(name, dtype, ["batch", 4]) for name in "xy")
    made = helper.make_graph(nodes, "g", [x], [y])
    return Net(helper.make_model(made, opset_imports=[helper.make_opsetid("", opset)], ir_version=8))


def test_jetpack_4_6_itself_lacks_what_came_with_4_6_1(tmp_path: Path) -> None:
    net = model([helper.make_node("Round", ["x"], ["y"], "rounded")])
    (found,) = by_rule(net.ruled(tmp_path / "m.onnx", "jetson-nano@jetpack-4.6.0"), "operators")
    assert (found.severity, found.node) == ("error", "rounded")
    assert "8.0-GA" in found.source
    assert net.ruled(tmp_path / "m.onnx", "jetson-nano") == ()


def test_an_operator_that_is_missing_is_told_once(tmp_path: Path) -> None:
    """Not as one of a later opset and of an unread type as well."""
    net = model([helper.make_node("Gelu", ["x"], ["y"], "gelu")], opset=20)
    (found,) = net.ruled(tmp_path / "m.onnx", "jetson-nano")
    assert (found.rule, found.node) == ("operators", "gelu")
    net = model([helper.make_node("Fancy", ["x"], ["y"], "fancy")])
    (found,) = net.ruled(tmp_path / "m.onnx", "jetson-nano")
    assert (found.rule, found.node) == ("defined", "fancy")


@pytest.mark.parametrize(("value", "found"), [(2**40, 1), (2**31 - 1, 0), (2**63 - 1, 0), (-(2**63), 0)])
def test_an_integer_that_32_bits_do_not_hold(value: int, found: int, tmp_path: Path) -> None:
    """The largest of 64 bits means the end of an axis, and still does when it is clamped."""
    net = model([helper.make_node("Add", ["x", "c"], ["y"], "add")], TensorProto.INT64)
    net.put("c", np.array([value]))
    faults = by_rule(net.ruled(tmp_path / "m.onnx", "jetson-agx-xavier"), "narrowed")
    assert [(one.severity, one.node) for one in faults] == [("error", "add")] * found
    assert net.ruled(tmp_path / "m.onnx", "jetson") == (), "TensorRT 10 has 64 bits"


def test_numbers_of_64_bits_are_told_once_where_32_are_made_of_them(tmp_path: Path) -> None:
    up = helper.make_node("Cast", ["x"], ["d"], "up", to=TensorProto.DOUBLE)
    down = helper.make_node("Cast", ["e"], ["y"], "down", to=TensorProto.FLOAT)
    net = model([up, helper.make_node("Mul", ["d", "d"], ["e"], "squared"), down])
    (found,) = by_rule(net.ruled(tmp_path / "m.onnx", "jetson-nano"), "narrowed")
    assert (found.severity, found.node) == ("warning", "squared")


@pytest.mark.parametrize(("number", "said"), [(np.inf, "holds infinity, 1 of"), (np.nan, "holds NaN, 1 of")])
def test_a_weight_that_is_no_number_is_told_once(number: float, said: str, tmp_path: Path) -> None:
    net = float_net()
    weight = net.constant("left_w").copy()
    weight[0, 0, 0, 0] = number
    net.put("left_w", weight)
    for target in ("cpu", "jetson"):
        (found,) = by_rule(net.ruled(tmp_path / "m.onnx", target), "constants")
        assert (found.severity, found.node) == ("error", "left")
        assert said in found.said


def test_text_has_no_size(tmp_path: Path) -> None:
    """The rule on memory looks at the shape of every value."""
    net = model([helper.make_node("Identity", ["x"], ["y"], "same")], TensorProto.STRING)
    assert net.ruled(tmp_path / "m.onnx", "rpi5") == ()


def test_an_input_from_nowhere_is_named_and_nothing_else_is_said(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    net = model([helper.make_node("Add", ["x", "nowhere"], ["y"], "add")])
    onnx.save(net.model, tmp_path / "m.onnx")
    with pytest.raises(InputError, match=r"add \(Add\) reads 'nowhere', which is no input, no constant"):
        lint(tmp_path / "m.onnx", load_target("server-cpu"), BATCH)
    with pytest.raises(InputError, match="nowhere"):
        read_graph(tmp_path / "m.onnx")
    assert caplog.records == []
