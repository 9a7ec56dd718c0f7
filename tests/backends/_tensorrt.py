"""A small residual network as ONNX files, float or with the Q/DQ TensorRT wants, and a Jetson to build it for."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from edgepress.backends.base import AxisRange, Graph, TensorSpec
from edgepress.profiles.device.grid import Grid
from edgepress.profiles.device.precision import PrecisionName
from edgepress.profiles.device.target import Option, Scheme, Target, Toolchain

SCHEME = Scheme(
    name="tensorrt",
    activation=Grid(bits=8, signed=True, symmetric=True),
    weight=Grid(bits=8, signed=True, symmetric=True, granularity="channel"),
    weight_storage="integer",
    bias="float",
    weighted=("Conv",),
    residual="skip",
    source="test",
)
WEAK: dict[PrecisionName, tuple[str, ...]] = {"int8": ("--int8", "--fp16"), "fp16": ("--fp16",)}
RANGES = {"batch": AxisRange(smallest=1, usual=2, largest=8)}
SHAPE = ("batch", 8, 16, 16)


def jetson(
    toolchain: str = "jetpack-6.2",
    version: str = "10.3",
    flags: Mapping[PrecisionName, tuple[str, ...]] | None = None,
    options: dict[str, Option] | None = None,
) -> Target:
    tools = Toolchain(
        name=toolchain, opset=17, versions={"tensorrt": version}, build_flags=dict(flags or {}), source="test"
    )
    return Target(
        name="jetson-test",
        title="A Jetson",
        arch="aarch64",
        backend="tensorrt",
        precisions=("int8", "fp16", "fp32"),
        toolchain=tools,
        scheme=SCHEME,
        options=options or {},
    )


class Net:
    """x -> conv_1 -> relu_1 -> conv_2 -> + x -> y, written node by node, with Q/DQ around the convolutions."""

    def __init__(self) -> None:
        self.rng = np.random.default_rng(5)
        self.nodes: list[onnx.NodeProto] = []
        self.constants: list[onnx.TensorProto] = []

    def node(self, kind: str, inputs: list[str], output: str, name: str, domain: str = "", **attributes: object) -> str:
        self.nodes.append(helper.make_node(kind, inputs, [output], name, domain=domain, **attributes))
        return output

    def constant(self, name: str, value: np.ndarray) -> str:
        self.constants.append(numpy_helper.from_array(value, name))
        return name

    def qdq(self, tensor: str, zero: np.ndarray | None, scale: float = 0.02) -> str:
        s = self.constant(f"{tensor}_s", np.float32(scale))
        z = [] if zero is None else [self.constant(f"{tensor}_z", zero)]
        self.node("QuantizeLinear", [tensor, s, *z], f"{tensor}_q", f"q_{tensor}")
        return self.node("DequantizeLinear", [f"{tensor}_q", s, *z], f"{tensor}_d", f"dq_{tensor}")

    def convolution(self, tensor: str, output: str, name: str, integer: bool, bias32: bool = False) -> str:
        weight = self.rng.normal(0, 0.1, (8, 8, 3, 3)).astype(np.float32)
        bias = self.rng.normal(0, 0.1, 8).astype(np.float32)
        if not integer:
            inputs = [self.constant(f"{name}_w", weight), self.constant(f"{name}_b", bias)]
            return self.node("Conv", [tensor, *inputs], output, name, pads=[1, 1, 1, 1])
        scale = (np.abs(weight).max(axis=(1, 2, 3)) / 127).astype(np.float32)
        stored = np.round(weight / scale[:, None, None, None]).astype(np.int8)
        w = self.dequantized(f"{name}_w", stored, scale, np.int8)
        b = self.constant(f"{name}_b", bias)
        if bias32:
            step = (scale * np.float32(0.02)).astype(np.float32)
            b = self.dequantized(f"{name}_b32", np.round(bias / step).astype(np.int32), step, np.int32)
        return self.node("Conv", [tensor, w, b], output, name, pads=[1, 1, 1, 1])

    def dequantized(self, name: str, stored: np.ndarray, scale: np.ndarray, kind: type) -> str:
        inputs = [self.constant(f"{name}_q", stored), self.constant(f"{name}_s", scale)]
        inputs.append(self.constant(f"{name}_z", np.zeros(len(scale), kind)))
        return self.node("DequantizeLinear", inputs, f"{name}_d", f"dq_{name}", axis=0)

    def save(self, path: Path, batch: int | str = "batch", external: bool = False) -> Graph:
        shape = (batch, *SHAPE[1:])
        ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name in "xy"]
        graph = helper.make_graph(self.nodes, "net", ends[:1], ends[1:], self.constants)
        opsets = [helper.make_opsetid("", 17), helper.make_opsetid("acme", 1)]
        model = helper.make_model(graph, opset_imports=opsets, ir_version=8)
        onnx.save(model, path, save_as_external_data=external, location=f"{path.name}.data", size_threshold=0)
        spec = TensorSpec(name="x", dtype="float32", shape=shape)
        return Graph(
            path=path,
            inputs=(spec,),
            outputs=(replace(spec, name="y"),),
            opset=17,
            digest="",
            axes=RANGES if batch == "batch" else {},
        )


def residual(
    path: Path,
    integer: bool,
    zero: np.ndarray | None = np.int8(0),  # noqa: B008  (a scalar does not change)
    bias32: bool = False,
    batch: int | str = "batch",
    external: bool = False,
) -> Graph:
    net = Net()
    first = net.qdq("x", np.int8(0)) if integer else "x"
    net.convolution(first, "c", "conv_1", integer)
    net.node("Relu", ["c"], "r", "relu_1")
    second = net.qdq("r", zero) if integer else "r"
    net.convolution(second, "e", "conv_2", integer, bias32)
    net.node("Add", ["e", first], "y", "add_1")
    return net.save(path, batch, external)
