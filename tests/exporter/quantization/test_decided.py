"""What is decided by floats before any layer of integers is computed in float32 beside integers."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from edgepress import export
from edgepress.backends.openvino import OpenVino
from edgepress.exporter.quantization.analysis.decided import decided_in_float
from edgepress.profiles.device.target import load_target

node = helper.make_node
HOT = [
    node("ArgMax", ["x"], ["best"], "best", axis=-1, keepdims=0),
    node("OneHot", ["best", "size", "ends"], ["hot"], "hot"),
    node("Add", ["x", "hot"], ["sum"], "add"),
    node("MatMul", ["sum", "w"], ["y"], "product"),
]
CONSTANTS = {
    "size": np.array([9]),
    "ends": np.float32([0, 1]),
    "w": np.random.default_rng(0).normal(size=(9, 9)).astype(np.float32) / 3,
    "bound": np.float32(0.2),
    "whole": np.array(3),
}


def write(path: Path, nodes: Sequence[onnx.NodeProto], dtype: int = TensorProto.FLOAT) -> Path:
    ends = [helper.make_tensor_value_info("x", dtype, ["n", 9]), helper.make_tensor_value_info("y", 1, ["n", 9])]
    read = {name for each in nodes for name in each.input}
    held = [numpy_helper.from_array(array, name) for name, array in CONSTANTS.items() if name in read]
    graph = helper.make_graph(nodes, "net", ends[:1], ends[1:], held)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.save(onnx.shape_inference.infer_shapes(model), path)
    return path


def test_the_largest_of_an_input(tmp_path: Path) -> None:
    assert decided_in_float(write(tmp_path / "net.onnx", HOT)) == ("best",)


@pytest.mark.parametrize(
    ("nodes", "dtype"),
    [
        (
            [
                node("MatMul", ["x", "w"], ["p"]),
                node("Greater", ["p", "bound"], ["is"], "is"),
                node("Where", ["is", "p", "x"], ["y"]),
            ],
            TensorProto.FLOAT,
        ),
        (
            [
                node("Equal", ["x", "whole"], ["is"], "is"),
                node("Cast", ["is"], ["f"], to=1),
                node("MatMul", ["f", "w"], ["y"]),
            ],
            TensorProto.INT64,
        ),
        (
            [
                node("MatMul", ["x", "w"], ["p"]),
                node("Add", ["p", "x"], ["s"]),
                node("Floor", ["s"], ["y"], "floor"),
            ],
            TensorProto.FLOAT,
        ),
    ],
    ids=["behind a product", "of whole numbers", "of a sum with a product"],
)
def test_what_is_rounded_or_exact_anyway(nodes: list[onnx.NodeProto], dtype: int, tmp_path: Path) -> None:
    assert decided_in_float(write(tmp_path / "net.onnx", nodes, dtype)) == ()


@pytest.mark.skipif(
    OpenVino().native_float(load_target("cpu")) == "fp32", reason="this processor computes no float shorter than fp32"
)
def test_int8_on_cpu_decides_as_fp32_does(tmp_path: Path) -> None:
    import openvino

    path, rng = write(tmp_path / "net.onnx", HOT), np.random.default_rng(1)
    data = [{"x": rng.normal(size=(32, 9)).astype(np.float32)} for _ in range(4)]
    bundle = export(path, target="cpu", precision="int8", calibration=data, output=tmp_path, measure=False)
    engine = bundle.path / "engine"
    compiled = openvino.Core().compile_model(engine / "model.xml", "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    assert (engine / "load.py").exists()
    x = rng.normal(size=(512, 9)).astype(np.float32)
    right = (x + np.eye(9, dtype=np.float32)[x.argmax(-1)]) @ CONSTANTS["w"]
    worst = np.square(compiled({"x": x})["y"] - right).sum(-1).max()
    assert worst < 0.3  # one decided otherwise is 2, a value beyond the calibration data 0.04
    assert "floats decide in best" in (bundle.path / "report.md").read_text()
