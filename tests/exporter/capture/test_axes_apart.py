"""Constants with more axes than what they are added to, and engines that do not open for it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import onnx_ir as ir
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper

import edgepress
from edgepress.exporter.capture.rewrites.axes_apart import axes_apart

F = np.float32


def saved(path: Path, nodes: list[onnx.NodeProto], result: int, **constants: np.ndarray) -> Path:
    """A file whose input x is a batch of (4, 9, 9), and whose output y has so many axes."""
    rng = np.random.default_rng(0)
    known = {"gain": np.abs(rng.normal(size=4)) + 1, "bias": rng.normal(size=4), "w": rng.normal(size=(9, 6))}
    given = {name: np.asarray(array, F) for name, array in (known | constants).items()}
    graph = helper.make_graph(
        nodes, "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 4, 9, 9])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [f"d{axis}" for axis in range(result)])],
        [numpy_helper.from_array(given[name], name) for name in given if any(name in one.input for one in nodes)],
    )  # fmt: skip
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.save(onnx.shape_inference.infer_shapes(model), path)
    return path


def answered(path: Path, x: np.ndarray) -> np.ndarray:
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    return np.asarray(session.run(None, {"x": x})[0])


@pytest.mark.parametrize("operator", ["Add", "Sub", "Mul", "Div"])
@pytest.mark.parametrize("first", [True, False])
@pytest.mark.parametrize(
    ("shape", "times"),
    [((1, 1, 4, 1, 1), 1), ((1, 1, 1, 4, 1, 9), 1), ((2, 1, 4, 1, 1), 0), ((1, 4, 1, 1), 0), ((), 0)],
)
def test_the_axes_that_a_constant_brings_are_added_behind(
    operator: str, first: bool, shape: tuple[int, ...], times: int, tmp_path: Path
) -> None:
    names = ["c", "x"] if first else ["x", "c"]
    constant = np.abs(np.random.default_rng(1).normal(size=shape)) + 1
    path = saved(tmp_path / "m.onnx", [helper.make_node(operator, names, ["y"], "it")], max(4, len(shape)), c=constant)
    x = np.random.default_rng(2).normal(size=(3, 4, 9, 9)).astype(F) + 5
    before = answered(path, x)
    model = ir.load(path)
    assert axes_apart(model) == times
    ir.save(model, path)
    onnx.checker.check_model(path, full_check=True)
    np.testing.assert_array_equal(answered(path, x), before)


def test_openvino_opens_the_integers_behind_such_a_sum(tmp_path: Path) -> None:
    """It ended with "FakeQuantize has different quantization axis size on 'data' and 'range' inputs"."""
    nodes = [
        helper.make_node("InstanceNormalization", ["x", "gain", "bias"], ["normal"]),
        helper.make_node("Add", ["normal", "c"], ["sum"]),
        helper.make_node("MatMul", ["sum", "w"], ["y"]),
    ]
    rng = np.random.default_rng(3)
    path = saved(tmp_path / "net.onnx", nodes, 5, c=rng.normal(size=(1, 1, 4, 1, 1)))
    data = [{"x": rng.normal(size=(4, 4, 9, 9)).astype(F)} for _ in range(4)]
    bundle = edgepress.export(
        path, target="cpu", precision="int8", calibration=data, measure=False, force=True, output=tmp_path
    )
    assert bundle.manifest.engine.precision == "int8"
    assert [len(output.shape) for output in bundle.manifest.model.outputs] == [5]
