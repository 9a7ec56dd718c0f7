"""Faults of the graph itself: opset, operators, types, shapes, memory, range, and layers that a runtime gets wrong."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from onnx import TensorProto, helper

from edgepress.backends.base import AxisRange
from edgepress.exporter.lint.run import RULES, by_rules
from edgepress.profiles.device.target import load_target

from ._net import BATCH, Net, by_rule, float_net, said_in_full


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
    assert "No parser and no other rule was asked" in report.unparsed


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


def test_a_largest_value_that_openvino_keeps_in_integers(int8: Callable[..., Net], tmp_path: Path) -> None:
    net = int8("cpu")
    net.node("mean").CopyFrom(helper.make_node("ReduceMax", ["tr"], ["mean"], "mean", axes=[2, 3], keepdims=0))
    net.node("flat").input[0] = net.rounded("mean", "sr", before="flat")
    assert [(one.rule, one.node) for one in net.ruled(tmp_path / "m.onnx", "cpu")] == [("reduced", "mean")]


def test_every_rule_finds_something_here() -> None:
    """A rule without a planted fault would be one that nobody has seen work."""
    text = "".join(file.read_text(encoding="utf-8") for file in Path(__file__).parent.glob("test_*.py"))
    assert [name for name in RULES.names() if f'"{name}"' not in text] == []
