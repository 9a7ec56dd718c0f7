"""Small sound graphs, each of other operators."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper


def write_models(directory: Path) -> list[str]:
    """Write them there; their names."""
    made = {"cnn": cnn(), "attention": attention(), "recurrent": recurrent(), "control": control()}
    for name, model in made.items():
        onnx.save(model, directory / f"{name}.onnx")
    return list(made)


def _model(
    nodes: list[onnx.NodeProto], shape: list[int | str], result: list[int | str], **weights: np.ndarray
) -> onnx.ModelProto:
    image = helper.make_tensor_value_info("image", TensorProto.FLOAT, shape)
    output = helper.make_tensor_value_info("output", TensorProto.FLOAT, result)
    held = [numpy_helper.from_array(value, name) for name, value in weights.items()]
    graph = helper.make_graph(nodes, "net", [image], [output], held)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def _weight(*shape: int) -> np.ndarray:
    return np.random.default_rng(len(shape)).normal(size=shape).astype(np.float32)


def cnn() -> onnx.ModelProto:
    node = helper.make_node
    nodes = [
        node("Conv", ["image", "w", "b"], ["c"], "conv", pads=[1, 1, 1, 1], strides=[1, 1], group=1),
        node("Relu", ["c"], ["r"], "relu"),
        node("MaxPool", ["r"], ["m"], "pool", kernel_shape=[2, 2], strides=[2, 2]),
        node("Flatten", ["m"], ["f"], "flat", axis=1),
        node("Gemm", ["f", "v"], ["output"], "gemm", transB=1),
    ]
    return _model(nodes, ["batch", 1, 8, 8], ["batch", 3], w=_weight(4, 1, 3, 3), b=_weight(4), v=_weight(3, 64))


def attention() -> onnx.ModelProto:
    node = helper.make_node
    nodes = [
        node("LayerNormalization", ["image", "g", "b"], ["n"], "norm", axis=-1, epsilon=1e-5),
        node("MatMul", ["n", "q"], ["queries"], "q"),
        node("Transpose", ["queries"], ["keys"], "turn", perm=[0, 2, 1]),
        node("MatMul", ["queries", "keys"], ["scores"], "scores"),
        node("Softmax", ["scores"], ["shares"], "softmax", axis=-1),
        node("MatMul", ["shares", "n"], ["mixed"], "mix"),
        node("Reshape", ["mixed", "sizes"], ["output"], "reshape"),
    ]
    sizes = np.asarray([0, -1], np.int64)
    return _model(nodes, ["batch", 5, 8], ["batch", 40], g=_weight(8), b=_weight(8), q=_weight(8, 8), sizes=sizes)


def recurrent() -> onnx.ModelProto:
    node = helper.make_node
    nodes = [
        node("GRU", ["image", "w", "r", "b"], ["all", "last"], "gru", hidden_size=4, linear_before_reset=1),
        node("Squeeze", ["last", "zero"], ["s"], "squeeze"),
        node("Gather", ["s", "rows"], ["output"], "gather", axis=1),
    ]
    rows, zero = np.asarray([0, 3], np.int64), np.asarray([0], np.int64)
    weights = {"w": _weight(1, 12, 3), "r": _weight(1, 12, 4), "b": _weight(1, 24), "rows": rows, "zero": zero}
    return _model(nodes, [6, "batch", 3], ["batch", 2], **weights)


def control() -> onnx.ModelProto:
    node, value = helper.make_node, helper.make_tensor_value_info
    arms = [
        helper.make_graph(
            [node(kind, ["image"], [name], name)], name, [], [value(name, TensorProto.FLOAT, ["batch", 4])]
        )
        for kind, name in (("Relu", "positive"), ("Neg", "negative"))
    ]
    nodes = [
        node("ReduceSum", ["image"], ["sum"], "sum", keepdims=0),
        node("Greater", ["sum", "zero"], ["is"], "greater"),
        node("If", ["is"], ["chosen"], "if", then_branch=arms[0], else_branch=arms[1]),
        node("Cast", ["chosen"], ["wide"], "cast", to=TensorProto.FLOAT),
        node("Slice", ["wide", "start", "end", "axis"], ["part"], "slice"),
        node("Concat", ["part", "chosen"], ["output"], "concat", axis=1),
    ]
    weights = {name: np.asarray([number], np.int64) for name, number in (("start", 0), ("end", 2), ("axis", 1))}
    return _model(nodes, ["batch", 4], ["batch", 6], zero=np.asarray(0, np.float32), **weights)
