"""Faults that are written into an ONNX file as a compiler or a careless hand would leave them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
from onnx import numpy_helper


def wrong_fusion(model: onnx.ModelProto) -> None:
    """The bias that is fused into a convolution goes to the wrong channels."""
    bias = next(node for node in model.graph.node if node.op_type == "Conv").input[2]
    makers = {node.output[0]: node.input[0] for node in model.graph.node}
    tensor = next(t for t in model.graph.initializer if t.name == makers.get(bias, bias))
    tensor.CopyFrom(numpy_helper.from_array(np.roll(numpy_helper.to_array(tensor), 1), tensor.name))


def another_graph(model: onnx.ModelProto) -> None:
    """The same operators with the weights of another model."""
    rng = np.random.default_rng(0)
    for tensor in model.graph.initializer:
        array = numpy_helper.to_array(tensor)
        if array.ndim > 1:
            tensor.CopyFrom(numpy_helper.from_array(rng.permutation(array.ravel()).reshape(array.shape), tensor.name))


def one_weight(model: onnx.ModelProto) -> None:
    """The sign of the largest weight of a convolution."""
    tensor = next(t for t in model.graph.initializer if len(t.dims) == 4)
    array = numpy_helper.to_array(tensor).copy()
    at = np.unravel_index(np.abs(array.astype(np.float32)).argmax(), array.shape)
    array[at] = -array[at]
    tensor.CopyFrom(numpy_helper.from_array(array, tensor.name))


def wrong_scale(model: onnx.ModelProto) -> None:
    """The product of integers at the end is scaled a fifth too small."""
    weight = next(node for node in model.graph.node if node.op_type == "Gemm").input[1]
    scale = next(node for node in model.graph.node if node.output[0] == weight).input[1]
    tensor = next(t for t in model.graph.initializer if t.name == scale)
    tensor.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(tensor) * np.float32(0.8), tensor.name))


def clamp(model: onnx.ModelProto) -> None:
    """Every value inside ends where float16 does."""
    nodes, ends = [], {output.name for output in model.graph.output}
    for name, limit in (("lowest", -65504.0), ("highest", 65504.0)):
        model.graph.initializer.append(numpy_helper.from_array(np.float32(limit), name))
    for node in model.graph.node:
        nodes.append(node)
        if node.op_type in {"Conv", "Gemm", "MatMul", "Mul"} and node.output[0] not in ends:
            inner = f"{node.output[0]}_wide"
            nodes.append(onnx.helper.make_node("Clip", [inner, "lowest", "highest"], [node.output[0]]))
            node.output[0] = inner
    del model.graph.node[:]
    model.graph.node.extend(nodes)


FAULTS: dict[str, Callable[[onnx.ModelProto], None]] = {
    fault.__name__: fault for fault in (wrong_fusion, another_graph, one_weight, wrong_scale, clamp)
}


def plant(fault: str, path: Path) -> None:
    """Write the fault into the file."""
    model = onnx.load(path)
    FAULTS[fault](model)
    onnx.save(model, path)
