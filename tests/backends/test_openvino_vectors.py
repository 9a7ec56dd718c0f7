"""A product with a vector, and a factor behind it, on OpenVINO."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper

from edgepress import export
from edgepress.backends.openvino import OpenVino
from edgepress.exporter.graphs.files import read_graph
from edgepress.profiles.device.target import load_target

openvino = pytest.importorskip("openvino")
SIZES = (3, 5, 6)


def product(path: Path, axes: int, operator: str, factor: tuple[int, ...], before: str = "") -> Path:
    rng = np.random.default_rng(0)
    arrays = {
        "w": rng.normal(size=SIZES[-1:]),
        "k": rng.uniform(0.5, 2, size=factor),
        "square": rng.normal(size=(6, 6)) * 0.4,
    }
    inits = [numpy_helper.from_array(array.astype(np.float32), name) for name, array in arrays.items()]
    nodes = [helper.make_node("MatMul", ["x", "square"], ["h"], "first")] if before else []
    nodes += [
        helper.make_node("MatMul", ["h" if before else "x", "w"], ["a"], "product"),
        helper.make_node(operator, ["a", "k"], ["y"], "factor"),
    ]
    sizes = [*SIZES[-(axes - 1) :]]
    graph = helper.make_graph(
        nodes,
        "vector",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["batch", *sizes])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["batch", *sizes[:-1]])],
        inits,
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)
    return path


@pytest.mark.parametrize("factor", [(), (1,), (1, 1)])
@pytest.mark.parametrize("operator", ["Mul", "Div"])
@pytest.mark.parametrize("axes", [2, 3, 4])
def test_a_factor_behind_it_is_kept_apart(tmp_path: Path, axes: int, operator: str, factor: tuple[int, ...]) -> None:
    if len(factor) >= axes:
        pytest.skip("it would add an axis")
    path = product(tmp_path / "m.onnx", axes, operator, factor)
    engine = OpenVino().compile(read_graph(path), load_target("cpu"), tmp_path, "fp32")
    compiled = openvino.Core().compile_model(engine.path, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    for samples in (1, 4):
        x = np.random.default_rng(samples).normal(size=(samples, *SIZES[-(axes - 1) :])).astype(np.float32)
        right = onnxruntime.InferenceSession(str(path)).run(None, {"x": x})[0]
        np.testing.assert_allclose(compiled([x])[0], right, atol=1e-5)


def test_in_int8_as_well(tmp_path: Path) -> None:
    path = product(tmp_path / "model.onnx", 3, "Mul", (), before="a layer")
    rng = np.random.default_rng(1)
    feeds = [{"x": rng.normal(size=(8, *SIZES[-2:])).astype(np.float32)} for _ in range(12)]
    bundle = export(path, target="cpu", precision="int8", calibration=feeds, measure=False, output=tmp_path)
    x = rng.normal(size=(5, *SIZES[-2:])).astype(np.float32)
    right = onnxruntime.InferenceSession(str(path)).run(None, {"x": x})[0]
    found = openvino.Core().compile_model(bundle.path / "engine/model.xml", "CPU")([x])[0]
    assert 10 * np.log10(np.square(right).sum() / np.square(right - found).sum()) > 25
