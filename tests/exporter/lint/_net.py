"""A network as edgepress writes it for a target, and the handles by which a test plants a fault in it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
from onnx import NodeProto, TensorProto, helper, numpy_helper

from edgepress.backends.base import AxisRange
from edgepress.calibration.collect import collect
from edgepress.exporter.graphs.files import read_graph
from edgepress.exporter.lint.finding import Finding, LintReport
from edgepress.exporter.lint.run import by_rules, lint
from edgepress.exporter.quantization.quantizer import Quantizer
from edgepress.profiles.device.target import Scheme, load_target

BATCH = {"batch": AxisRange(smallest=1, usual=2, largest=8)}
OPSET = 13  # which every toolchain reads
SHAPE = (16, 8, 8)
Plant = Callable[["Net"], None]


class Net:
    """Convolutions with a residual branch and a Concat, then a Gemm; as a message, which may be changed."""

    def __init__(self, model: onnx.ModelProto) -> None:
        self.model = model

    def node(self, name: str) -> NodeProto:
        return next(node for node in self.model.graph.node if node.name == name)

    def constant(self, name: str) -> np.ndarray:
        return numpy_helper.to_array(next(one for one in self.model.graph.initializer if one.name == name))

    def put(self, name: str, array: np.ndarray) -> str:
        kept = [one for one in self.model.graph.initializer if one.name != name]
        del self.model.graph.initializer[:]
        self.model.graph.initializer.extend([*kept, numpy_helper.from_array(np.asarray(array), name)])
        return name

    def pair(self, value: str) -> tuple[NodeProto, NodeProto]:
        """The Q/DQ nodes of a float value, in the order of the graph."""
        first = next(n for n in self.model.graph.node if n.op_type == "QuantizeLinear" and n.input[0] == value)
        return first, next(n for n in self.model.graph.node if n.input and n.input[0] == first.output[0])

    def round_in(self, value: str, zero: np.ndarray, scale: np.ndarray | None = None, axis: int | None = None) -> None:
        """Another zero point, and scale, for the pair of one value."""
        for node in self.pair(value):
            node.input[2] = self.put(f"{value}_planted_zero", zero)
            if scale is not None:
                node.input[1] = self.put(f"{value}_planted_scale", scale)
            if axis is not None:
                node.attribute.append(helper.make_attribute("axis", axis))

    def insert(self, node: NodeProto, before: str) -> None:
        at = [one.name for one in self.model.graph.node].index(before)
        self.model.graph.node.insert(at, node)

    def rounded(self, value: str, like: str, before: str) -> str:
        """A Q/DQ pair behind a value, rounding as another's does; returns the name of the dequantized value."""
        first, _ = self.pair(like)
        for operator, data, result in (("QuantizeLinear", value, "q"), ("DequantizeLinear", f"{value}_new_q", "dq")):
            made = helper.make_node(
                operator, [data, *first.input[1:]], [f"{value}_new_{result}"], f"{value}_{operator}"
            )
            self.insert(made, before)
        return f"{value}_new_dq"

    def ruled(self, path: Path, target: str, axes: Mapping[str, AxisRange] = BATCH) -> tuple[Finding, ...]:
        """What the rules find; no parser is asked, which for TensorRT would be a process of its own each time."""
        onnx.save(self.model, path)
        return by_rules(path, load_target(target), axes)

    def linted(self, path: Path, target: str, axes: Mapping[str, AxisRange] = BATCH) -> LintReport:
        onnx.save(self.model, path)
        return lint(path, load_target(target), axes)


def float_net(opset: int = OPSET) -> Net:
    nodes = [
        _conv("stem", "x", "s"),
        helper.make_node("Relu", ["s"], ["sr"], "stem_relu"),
        _conv("one", "sr", "a"),
        helper.make_node("Add", ["a", "sr"], ["sum"], "join"),
        helper.make_node("Relu", ["sum"], ["sum_r"], "join_relu"),
        _conv("left", "sum_r", "l"),
        helper.make_node("Relu", ["l"], ["lr"], "left_relu"),
        _conv("right", "sum_r", "r"),
        helper.make_node("Relu", ["r"], ["rr"], "right_relu"),
        helper.make_node("Concat", ["lr", "rr"], ["both"], "both", axis=1),
        _conv("last", "both", "t"),
        helper.make_node("Relu", ["t"], ["tr"], "last_relu"),
        helper.make_node("GlobalAveragePool", ["tr"], ["mean"], "mean"),
        helper.make_node("Flatten", ["mean"], ["flat"], "flat"),
        helper.make_node("Gemm", ["flat", "head_w", "head_b"], ["y"], "head"),
    ]
    rng = np.random.default_rng(3)
    shapes = {f"{name}_w": (16, 16, 3, 3) for name in ("stem", "one", "left", "right")}
    shapes |= {"last_w": (16, 32, 3, 3), "head_w": (16, 5), "head_b": (5,)}
    shapes |= {f"{name}_b": (16,) for name in ("stem", "one", "left", "right", "last")}
    weights = [
        numpy_helper.from_array((rng.normal(size=s) * 0.1).astype(np.float32), name) for name, s in shapes.items()
    ]
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, ["batch", *SHAPE])
    y = helper.make_tensor_value_info("y", TensorProto.FLOAT, ["batch", 5])
    graph = helper.make_graph(nodes, "net", [x], [y], weights)
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)
    return Net(onnx.shape_inference.infer_shapes(made))


def int8_net(target: str, directory: Path, size: float = 1.0, **changed: object) -> Net:
    """The network in the int8 of a target's scheme, or of one that differs in some fields, with data of a size."""
    scheme = load_target(target).scheme
    assert isinstance(scheme, Scheme)
    scheme = replace(scheme, **changed)  # type: ignore[arg-type]
    source, path = directory / "float.onnx", directory / "int8.onnx"
    net = float_net()
    for name in ("stem", "one", "left", "right", "last", "head"):
        net.put(f"{name}_b", net.constant(f"{name}_b") * np.float32(size))
    onnx.save(net.model, source)
    graph = read_graph(source)
    quantizer = Quantizer.of(graph, scheme, lifts=())
    rng = np.random.default_rng(4)
    batches = [{"x": (rng.normal(size=(4, *SHAPE)) * size).astype(np.float32)} for _ in range(4)]
    quantizer.write(collect(graph, quantizer.placement.observed(), lambda: iter(batches)), path)
    return Net(onnx.load(path))


def _conv(name: str, data: str, result: str) -> NodeProto:
    return helper.make_node(
        "Conv", [data, f"{name}_w", f"{name}_b"], [result], name, kernel_shape=[3, 3], pads=[1, 1, 1, 1]
    )


def said_in_full(found: Finding) -> None:
    assert found.said
    assert not found.said.endswith(".")
    assert found.remedy.endswith(".")
    assert len(found.source) > 20
    assert "\n" not in found.source


def by_rule(findings: tuple[Finding, ...], rule: str) -> tuple[Finding, ...]:
    """Those of one rule; no other may find any."""
    assert {one.rule for one in findings} <= {rule}, findings
    return findings
