"""Dilations of an AveragePool, spelled out as one by some tools, which onnxruntime's integers do not know."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper

import edgepress

node = helper.make_node


@pytest.mark.parametrize(
    "settings",
    [
        {"dilations": [1, 1], "pads": [1, 1, 1, 1]},
        {"dilations": [2, 1], "strides": [1, 2]},
        {"dilations": [2, 2], "pads": [1, 1, 1, 1], "count_include_pad": 1},
    ],
    ids=["ones", "apart", "counted"],
)
def test_a_pool_with_dilations_is_int8_and_what_it_was(settings: dict[str, int | list[int]], tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    shapes = {"w": (8, 3, 3, 3), "v": (4, 8, 1, 1)}
    weights = [numpy_helper.from_array(rng.normal(size=s).astype(np.float32) * 0.3, n) for n, s in shapes.items()]
    nodes = [
        node("Conv", ["x", "w"], ["c"], "first"),
        node("Relu", ["c"], ["r"], "relu"),
        node("AveragePool", ["r"], ["p"], "pool", kernel_shape=[2, 2], **settings),
        node("Conv", ["p", "v"], ["y"], "second"),
    ]
    ends = [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["batch", 3, 12, 11])]
    graph = helper.make_graph(nodes, "g", ends, [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)], weights)
    graph.output[0].type.tensor_type.shape.CopyFrom(onnx.TensorShapeProto(dim=[onnx.TensorShapeProto.Dimension()] * 4))
    path = tmp_path / "pooled.onnx"
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 19)], ir_version=9), path)
    data = [{"x": rng.normal(size=(8, 3, 12, 11)).astype(np.float32)} for _ in range(16)]
    bundle = edgepress.export(
        path, target="server-cpu", precision="int8", calibration=data, measure=False, output=tmp_path
    )
    x = {"x": rng.normal(size=(8, 3, 12, 11)).astype(np.float32)}
    right = onnxruntime.InferenceSession(path).run(None, x)[0]
    (engine,) = (bundle.path / "engine").glob("model.o*")
    found = onnxruntime.InferenceSession(engine).run(None, x)[0]
    assert 10 * np.log10((right**2).sum() / ((right - found) ** 2).sum()) > 30
