"""Two small networks as ONNX files, one of convolutions and one of matrix products, in float and in a scheme's int8."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
from onnx import NodeProto, TensorProto, helper, numpy_helper

from edgepress.backends.base import Array, AxisRange, Feed, Graph, TensorSpec
from edgepress.calibration.collect import collect
from edgepress.exporter.quantization.quantizer import Quantizer
from edgepress.profiles.device.target import Scheme

OPSET = 17
Build = Callable[[Path], Graph]


def convolutions(path: Path) -> Graph:
    """Conv-ReLU-Conv-mean-Gemm with a free batch axis."""
    pads = {"kernel_shape": [3, 3], "pads": [1, 1, 1, 1]}
    nodes = [
        helper.make_node("Conv", ["image", "w1", "b1"], ["c1"], "one", **pads),
        helper.make_node("Relu", ["c1"], ["r1"], "relu"),
        helper.make_node("Conv", ["r1", "w2"], ["c2"], "two", **pads),
        helper.make_node("GlobalAveragePool", ["c2"], ["mean"], "mean"),
        helper.make_node("Flatten", ["mean"], ["flat"], "flat"),
        helper.make_node("Gemm", ["flat", "w3", "b3"], ["logits"], "three"),
    ]
    shapes = {"w1": (8, 3, 3, 3), "b1": (8,), "w2": (8, 8, 3, 3), "w3": (8, 5), "b3": (5,)}
    return _written(path, nodes, shapes, (3, 10, 10), (5,))


def products(path: Path) -> Graph:
    """A token's two linear layers with ReLU between them, and a third; batch axis free, six tokens."""
    nodes = [
        helper.make_node("MatMul", ["image", "w1"], ["p1"], "one"),
        helper.make_node("Add", ["p1", "b1"], ["a1"], "shift"),
        helper.make_node("Relu", ["a1"], ["r1"], "relu"),
        helper.make_node("MatMul", ["r1", "w2"], ["p2"], "two"),
        helper.make_node("Add", ["p2", "image"], ["sum"], "join"),
        helper.make_node("MatMul", ["sum", "w3"], ["logits"], "three"),
    ]
    shapes = {"w1": (16, 32), "b1": (32,), "w2": (32, 16), "w3": (16, 5)}
    return _written(path, nodes, shapes, (6, 16), (6, 5))


KINDS: dict[str, Build] = {"convolutions": convolutions, "products": products}
PRODUCTS = 3  # matrix products or convolutions in each


def feed(graph: Graph, batch: int, seed: int = 0) -> Feed:
    """A seeded feed."""
    (spec,) = graph.inputs
    sizes = [batch, *(int(size) for size in spec.shape[1:])]
    return {spec.name: np.random.default_rng(seed).normal(0, 1, sizes).astype(np.float32)}


def quantized(graph: Graph, scheme: Scheme, path: Path) -> Graph:
    """The graph as an export would write it in the scheme, calibrated on values twice as large as those of `feed`.

    An x86 without VNNI adds two products of u8 and s8 in 16 bits. So, and with a single large weight a channel, hardly
    any two overflow: this suite asks what runtimes promise on every processor, not how a network fares on one.
    """
    quantizer = Quantizer.of(graph, scheme)
    batches = [{name: 2 * array for name, array in feed(graph, 8, seed).items()} for seed in range(100, 108)]
    quantizer.write(collect(graph, quantizer.placement.observed(), lambda: iter(batches)), path)
    return replace(graph, path=path, digest=_digest(path))


def to_the_letter(path: Path, feeds: Sequence[Feed], names: Sequence[str] = ("logits",)) -> list[dict[str, Array]]:
    """What the graph says: onnxruntime's answers where it optimizes nothing, so that rounded values stay float."""
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    return [dict(zip(names, session.run(list(names), dict(given)), strict=True)) for given in feeds]


def _written(
    path: Path,
    nodes: list[NodeProto],
    shapes: dict[str, tuple[int, ...]],
    taken: tuple[int, ...],
    given: tuple[int, ...],
) -> Graph:
    rng = np.random.default_rng(4)
    weights = [numpy_helper.from_array(_weight(rng, shape), name) for name, shape in shapes.items()]
    ends = {"image": ("batch", *taken), "logits": ("batch", *given)}
    image, logits = (helper.make_tensor_value_info(name, TensorProto.FLOAT, list(ends[name])) for name in ends)
    made = helper.make_graph(nodes, "net", [image], [logits], weights)
    onnx.save(helper.make_model(made, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=8), path)
    return Graph(
        path=path,
        inputs=(TensorSpec(name="image", dtype="float32", shape=ends["image"]),),
        outputs=(TensorSpec(name="logits", dtype="float32", shape=ends["logits"]),),
        opset=OPSET,
        digest=_digest(path),
        axes={"batch": AxisRange(smallest=1, usual=2, largest=8)},
    )


def _weight(rng: np.random.Generator, shape: tuple[int, ...]) -> Array:
    """Small weights with a large one in each output channel, which decides the channel's scale; see `quantized`."""
    values = rng.uniform(-0.15, 0.15, shape)
    if len(shape) > 1:
        for channel in np.moveaxis(values, 0 if len(shape) == 4 else 1, 0):
            channel.flat[rng.integers(channel.size)] = rng.choice((-0.6, 0.6))
    return values.astype(np.float32)


def _digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()
