"""An output that a branch reads as well, which OpenVINO takes for the result of the If."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import onnx_ir as ir
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper

import edgepress
from edgepress.exporter.capture.rewrites.outputs_apart import outputs_apart
from edgepress.exporter.graphs.files import read_model, write_model

SIZE = 8


def branching(path: Path, outputs: tuple[str, ...]) -> Path:
    """A layer, an If that reads what it gives, and a layer behind it."""
    rng = np.random.default_rng(0)
    inits = [numpy_helper.from_array((rng.normal(size=(SIZE, SIZE)) * 0.4).astype(np.float32), n) for n in ("w", "v")]
    inits.append(numpy_helper.from_array(np.float32(0.1), "bound"))
    arms = [
        helper.make_graph(
            [helper.make_node(operator, ["seen"], [operator])], operator, [],
            [helper.make_tensor_value_info(operator, TensorProto.FLOAT, ["batch", SIZE])],
        )
        for operator in ("Neg", "Tanh")
    ]  # fmt: skip
    nodes = [
        helper.make_node("MatMul", ["x", "w"], ["seen"], "first"),
        helper.make_node("ReduceMean", ["seen"], ["mean"], "mean", keepdims=0),
        helper.make_node("Greater", ["mean", "bound"], ["is_so"], "is_so"),
        helper.make_node("If", ["is_so"], ["chosen"], "if", then_branch=arms[0], else_branch=arms[1]),
        helper.make_node("MatMul", ["chosen", "v"], ["y"], "second"),
    ]
    graph = helper.make_graph(
        nodes,
        "branching",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["batch", SIZE])],
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["batch", SIZE]) for name in outputs],
        inits,
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)
    return path


def answered(path: Path, x: np.ndarray) -> list[np.ndarray]:
    return [np.asarray(array) for array in onnxruntime.InferenceSession(str(path)).run(None, {"x": x})]


@pytest.mark.parametrize(("outputs", "times"), [(("seen", "y"), 1), (("y", "seen"), 1), (("y",), 0)])
def test_an_output_that_a_branch_reads_has_a_node_of_its_own(
    outputs: tuple[str, ...], times: int, tmp_path: Path
) -> None:
    path = branching(tmp_path / "m.onnx", outputs)
    model = read_model(path)
    assert outputs_apart(model) == times
    assert outputs_apart(model) == 0
    write_model(model, tmp_path / "new.onnx")
    x = np.random.default_rng(1).normal(size=(3, SIZE)).astype(np.float32)
    for found, right in zip(answered(tmp_path / "new.onnx", x), answered(path, x), strict=True):
        np.testing.assert_array_equal(found, right)


def test_an_input_that_is_an_output_keeps_its_name(tmp_path: Path) -> None:
    model = ir.serde.deserialize_model(onnx.load(branching(tmp_path / "m.onnx", ("seen", "y"))))
    model.graph.outputs.append(model.graph.inputs[0])
    outputs_apart(model)
    assert [value.name for value in model.graph.outputs] == ["seen", "y", "x"]


@pytest.mark.parametrize("precision", ["fp32", "int8"])
def test_the_engine_has_what_the_branch_gives(precision: str, tmp_path: Path) -> None:
    openvino = pytest.importorskip("openvino")
    path, rng = branching(tmp_path / "model.onnx", ("seen", "y")), np.random.default_rng(2)
    data = [{"x": rng.normal(size=(8, SIZE)).astype(np.float32)} for _ in range(12)]
    bundle = edgepress.export(path, target="cpu", precision=precision, calibration=data, measure=False, output=tmp_path)
    compiled = openvino.Core().compile_model(bundle.path / "engine/model.xml", "CPU")
    for samples in (2, 5):
        x = rng.normal(size=(samples, SIZE)).astype(np.float32)
        found = compiled([x])
        for name, right in zip(("seen", "y"), answered(path, x), strict=True):
            noise = float(np.square(right - found[name]).sum())
            assert 10 * np.log10(float(np.square(right).sum()) / noise) > 25
