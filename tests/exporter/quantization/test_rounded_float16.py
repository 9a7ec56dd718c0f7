"""A float16 graph computed in float32 with every result rounded is what ONNX's own reference computes in float16."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper
from onnx.reference import ReferenceEvaluator

from edgepress.exporter.graphs.files import read_graph
from edgepress.exporter.quantization.rewrites.rounded_float16 import rounded_float16
from edgepress.exporter.quantization.rewrites.to_float16 import to_float16

X = np.random.default_rng(1).normal(size=(5, 16)).astype(np.float32)
THEN, ELSE = (
    helper.make_graph(
        [helper.make_node(operator, ["a", "large"], [f"{operator}_large"], name=operator)],
        operator,
        [],
        [helper.make_tensor_value_info(f"{operator}_large", TensorProto.FLOAT, None)],
    )
    for operator in ("Add", "Sub")
)
SUMS = [
    helper.make_node("Gemm", ["x", "w"], ["a"], name="first"),
    helper.make_node("Relu", ["a"], ["r"], name="relu"),
    helper.make_node("Add", ["r", "large"], ["b"], name="up"),
    helper.make_node("Sub", ["b", "large"], ["c"], name="down"),
    helper.make_node("Gemm", ["c", "w"], ["y"], name="last"),
]
BRANCH = [
    helper.make_node("Gemm", ["x", "w"], ["a"], name="first"),
    helper.make_node("If", ["yes"], ["b"], name="choose", then_branch=THEN, else_branch=ELSE),
    helper.make_node("Shape", ["b"], ["sizes"], name="sizes"),
    helper.make_node(
        "ConstantOfShape",
        ["sizes"],
        ["filled"],
        name="fill",
        value=helper.make_tensor("value", TensorProto.FLOAT, [1], [2000.0]),
    ),
    helper.make_node("Sub", ["b", "filled"], ["y"], name="down"),
]


def written(path: Path, nodes: list[onnx.NodeProto]) -> Path:
    weight = np.random.default_rng(0).normal(size=(16, 16)).astype(np.float32) / 4
    arrays = {"w": weight, "large": np.float32(2000), "yes": np.array([True])}
    read = {name for node in nodes for name in node.input} | {"large"}
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ("n", 16))],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ("n", 16))],
        [numpy_helper.from_array(np.asarray(array), name) for name, array in arrays.items() if name in read],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.save(onnx.shape_inference.infer_shapes(model), path)
    return path


def by_onnxruntime(path: Path) -> np.ndarray:
    return onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"]).run(None, {"x": X})[0]


@pytest.mark.parametrize("nodes", [SUMS, BRANCH], ids=["sums", "branch"])
def test_onnxruntime_rounds_what_the_graph_says(tmp_path: Path, nodes: list[onnx.NodeProto]) -> None:
    plain, half = written(tmp_path / "plain.onnx", nodes), tmp_path / "half.onnx"
    to_float16(plain, half)
    rounded = rounded_float16(read_graph(half), tmp_path / "rounded.onnx")
    onnx.checker.check_model(str(rounded.path), full_check=True)
    right, found = ReferenceEvaluator(str(half)).run(None, {"x": X})[0], by_onnxruntime(rounded.path)
    signal, lost = np.square(right).sum(), np.square(right - by_onnxruntime(plain)).sum()
    assert 10 * np.log10(signal / lost) < 20  # of which the float graph knows nothing
    assert np.square(right - found).sum() < 1e-4 * signal
    assert [value.name for value in rounded.outputs] == ["y"]


@pytest.mark.parametrize("last", ["Relu", "Transpose", "Tanh"])
def test_inputs_and_outputs_in_float16_stay_so(tmp_path: Path, last: str) -> None:
    half = TensorProto.FLOAT16
    nodes = [
        helper.make_node("MatMul", ["x", "w"], ["m"]),
        helper.make_node("Transpose", ["m"], ["t"], perm=[0, 1]),
        helper.make_node(last, ["t"], ["y"])
        if last != "Transpose"
        else helper.make_node(last, ["t"], ["y"], perm=[0, 1]),
    ]
    ends = [helper.make_tensor_value_info(name, half, ("n", 16)) for name in "xy"]
    weight = numpy_helper.from_array(np.random.default_rng(0).normal(size=(16, 16)).astype(np.float16), "w")
    graph = helper.make_graph(nodes, "g", ends[:1], ends[1:], [weight])
    path = tmp_path / "half.onnx"
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)
    rounded = rounded_float16(read_graph(path), tmp_path / "rounded.onnx")
    onnx.checker.check_model(str(rounded.path), full_check=True)
    assert [(v.name, v.dtype) for v in (*rounded.inputs, *rounded.outputs)] == [("x", "float16"), ("y", "float16")]
    x = X.astype(np.float16)
    found = onnxruntime.InferenceSession(rounded.path, providers=["CPUExecutionProvider"]).run(None, {"x": x})[0]
    right = ReferenceEvaluator(str(path)).run(None, {"x": x})[0]
    np.testing.assert_allclose(found, right, rtol=4e-3, atol=4e-3)
