"""A small residual convolution network as ONNX files, float and quantized by onnxruntime's own quantizer."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from edgepress.backends.base import Array, Feed, Graph, TensorSpec
from edgepress.profiles.device.target import Target, Toolchain

CONVOLUTIONS = ("stem", "first", "second")
CHANNELS, SIZE, CLASSES = 16, 12, 4


def residual(path: Path, batch: int | str = "batch") -> Graph:
    """stem-ReLU -> (first-ReLU -> second) + skip -> ReLU -> mean -> head, seeded weights."""
    rng = np.random.default_rng(7)
    weights = {
        "stem": rng.normal(0, 0.3, (CHANNELS, 3, 3, 3)),
        "first": rng.normal(0, 0.12, (CHANNELS, CHANNELS, 3, 3)),
        "second": rng.normal(0, 0.12, (CHANNELS, CHANNELS, 3, 3)),
        "head": rng.normal(0, 0.3, (CHANNELS, CLASSES)),
    }
    initializers = [numpy_helper.from_array(w.astype(np.float32), f"{n}.weight") for n, w in weights.items()]
    initializers += [
        numpy_helper.from_array(rng.normal(0, 0.1, w.shape[1 if n == "head" else 0]).astype(np.float32), f"{n}.bias")
        for n, w in weights.items()
    ]
    nodes = [
        *_convolution("stem", "image", "a"),
        *_convolution("first", "a", "b"),
        *_convolution("second", "b", "c", relu=False),
        helper.make_node("Add", ["c", "a"], ["sum"], "join"),
        helper.make_node("Relu", ["sum"], ["d"], "join.relu"),
        helper.make_node("GlobalAveragePool", ["d"], ["pooled"], "pool"),
        helper.make_node("Flatten", ["pooled"], ["flat"], "flat"),
        helper.make_node("Gemm", ["flat", "head.weight", "head.bias"], ["logits"], "head"),
    ]
    return save(path, nodes, initializers, (batch, 3, SIZE, SIZE), (batch, CLASSES))


def save(
    path: Path,
    nodes: list[onnx.NodeProto],
    initializers: list[onnx.TensorProto],
    shape: tuple[int | str, ...],
    out: tuple[int | str, ...],
    domains: tuple[str, ...] = (),
) -> Graph:
    """Write a graph `image` -> `logits` of float32."""
    graph = helper.make_graph(
        nodes,
        "residual",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, out)],
        initializers,
    )
    opsets = [helper.make_opsetid("", 17), *(helper.make_opsetid(domain, 1) for domain in domains)]
    onnx.save(helper.make_model(graph, opset_imports=opsets, ir_version=8), path)
    return described(path, shape, out)


def with_custom_node(path: Path) -> Graph:
    """Image -> Relu -> acme::Twist -> logits, an operator that no runtime knows."""
    nodes = [
        helper.make_node("Relu", ["image"], ["hidden"], "relu"),
        helper.make_node("Twist", ["hidden"], ["logits"], "the_twist", domain="acme"),
    ]
    return save(path, nodes, [], (1, 3, SIZE, SIZE), (1, 3, SIZE, SIZE), domains=("acme",))


def attention(path: Path) -> tuple[Graph, Feed]:
    """One attention head over `image`, twelve tokens of twelve features in each of three rows."""
    rng = np.random.default_rng(5)
    weights = [numpy_helper.from_array(rng.normal(0, 0.3, (12, 12)).astype(np.float32), n) for n in ("q", "k", "v")]
    nodes = [helper.make_node("MatMul", ["image", n], [f"{n}.out"], f"to_{n}") for n in ("q", "k", "v")]
    nodes += [
        helper.make_node("Transpose", ["k.out"], ["k.t"], "flip", perm=[0, 1, 3, 2]),
        helper.make_node("MatMul", ["q.out", "k.t"], ["scores"], "scores"),
        helper.make_node("Softmax", ["scores"], ["shares"], "shares", axis=-1),
        helper.make_node("MatMul", ["shares", "v.out"], ["logits"], "mix"),
    ]
    return save(path, nodes, weights, (2, 3, 12, 12), (2, 3, 12, 12)), feeds(2)[0]


def described(path: Path, shape: tuple[int | str, ...], out: tuple[int | str, ...]) -> Graph:
    """The `Graph` of such a file."""
    return Graph(
        path=path,
        inputs=(TensorSpec(name="image", dtype="float32", shape=shape),),
        outputs=(TensorSpec(name="logits", dtype="float32", shape=out),),
        opset=17,
        digest=hashlib.sha256(path.read_bytes()).hexdigest(),
    )


def feeds(batch: int, count: int = 4) -> list[Feed]:
    """Seeded feeds."""
    rng = np.random.default_rng(11)
    return [{"image": rng.normal(0, 1, (batch, 3, SIZE, SIZE)).astype(np.float32)} for _ in range(count)]


def quantized(directory: Path, activation: str, *, symmetric: bool, weight: str = "QInt8") -> Graph:
    """The same network with Q/DQ, per-channel weights; `activation` and `weight` name onnxruntime's `QuantType`."""
    from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static

    class Reader(CalibrationDataReader):  # type: ignore[misc]
        def __init__(self) -> None:
            self.left: Iterator[Feed] = iter(feeds(2))

        def get_next(self) -> dict[str, Array] | None:
            feed = next(self.left, None)
            return None if feed is None else dict(feed)

    source = residual(directory / "float.onnx")
    path = directory / f"{activation}-{weight}-{symmetric}.onnx"
    options = {"ActivationSymmetric": symmetric, "WeightSymmetric": weight == "QInt8"}
    quantize_static(
        source.path,
        path,
        Reader(),
        quant_format=QuantFormat.QDQ,
        per_channel=True,
        activation_type=QuantType[activation],
        weight_type=QuantType[weight],
        extra_options=options,
    )
    return described(path, source.inputs[0].shape, source.outputs[0].shape)


def _convolution(name: str, source: str, result: str, *, relu: bool = True) -> list[onnx.NodeProto]:
    made = f"{result}.pre" if relu else result
    attributes = {"kernel_shape": [3, 3], "pads": [1, 1, 1, 1]}
    nodes = [helper.make_node("Conv", [source, f"{name}.weight", f"{name}.bias"], [made], name, **attributes)]
    return [*nodes, helper.make_node("Relu", [made], [result], f"{name}.relu")] if relu else nodes


def target(arch: str = "x86_64", **options: str) -> Target:
    """A target with these options of its backend."""
    toolchain = Toolchain(name="test", opset=17, versions={}, source="test")
    return Target(
        name="test", title="Test", arch=arch, backend="test", precisions=("fp32",), toolchain=toolchain, options=options
    )


def digests(directory: Path) -> dict[str, str]:
    """sha256 of each file."""
    return {file.name: hashlib.sha256(file.read_bytes()).hexdigest() for file in sorted(directory.iterdir())}


def fresh(directory: Path) -> Path:
    """The directory, made."""
    directory.mkdir()
    return directory
