"""Files in half and in double precision become float32 graphs that take and give what they did."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import onnx_ir as ir
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper

import edgepress
from edgepress.errors import VerificationError
from edgepress.exporter.capture import original
from edgepress.exporter.capture.capture import capture
from edgepress.exporter.capture.proof import prove_capture
from edgepress.exporter.graphs.single_precision import in_single_precision
from edgepress.exporter.sources import Source, load_source

KINDS = {"half": (TensorProto.FLOAT16, np.float16), "double": (TensorProto.DOUBLE, np.float64)}


def network(path: Path, kind: str) -> Path:
    """A convolution and products, constants in nodes and in the body of a Loop, and a second output of booleans."""
    element, dtype = KINDS[kind]
    rng = np.random.default_rng(0)

    def value(name: str, shape: list[int], of: int = element) -> onnx.ValueInfoProto:
        return helper.make_tensor_value_info(name, of, shape)

    body = helper.make_graph(
        [
            helper.make_node("MatMul", ["state", "w2"], ["m"]),
            helper.make_node("Constant", [], ["half"], value=numpy_helper.from_array(np.array(0.5, dtype))),
            helper.make_node("Mul", ["m", "half"], ["next"]),
            helper.make_node("Identity", ["go"], ["go_on"]),
        ],
        "body",
        [value("i", [], TensorProto.INT64), value("go", [], TensorProto.BOOL), value("state", [2, 4])],
        [value("go_on", [], TensorProto.BOOL), value("next", [2, 4])],
    )
    nodes = [
        helper.make_node("Conv", ["x", "w"], ["c"]),
        helper.make_node("Relu", ["c"], ["r"]),
        helper.make_node("GlobalAveragePool", ["r"], ["p"]),
        helper.make_node("Flatten", ["p"], ["f"]),
        helper.make_node("Loop", ["three", "", "f"], ["l"], body=body),
        helper.make_node("Greater", ["l", "zero"], ["g"]),
        helper.make_node("Cast", ["g"], ["gf"], to=element),
        helper.make_node("Add", ["l", "gf"], ["y"]),
    ]
    weights = {
        "w": (rng.normal(size=(4, 3, 3, 3)) * 0.3).astype(dtype),
        "w2": rng.normal(size=(4, 4)).astype(dtype),
        "zero": np.array(0, dtype),
        "three": np.array(3),
    }
    graph = helper.make_graph(
        nodes,
        "network",
        [value("x", [2, 3, 6, 6])],
        [value("y", [2, 4]), value("g", [2, 4], TensorProto.BOOL)],
        [numpy_helper.from_array(array, name) for name, array in weights.items()],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)
    return path


def answer(path: Path, x: np.ndarray) -> np.ndarray:
    """What the network gives, computed in double precision by numpy."""
    weights = {t.name: numpy_helper.to_array(t).astype(np.float64) for t in onnx.load(path).graph.initializer}
    windows = np.lib.stride_tricks.sliding_window_view(x.astype(np.float64), (3, 3), axis=(2, 3))
    state = np.maximum(np.einsum("nchwij,ocij->nohw", windows, weights["w"]), 0).mean((2, 3))
    for _ in range(3):
        state = state @ weights["w2"] * 0.5
    return np.asarray(state + (state > 0))


def save(path: Path, nodes: list[onnx.NodeProto], weights: dict[str, np.ndarray], element: int) -> None:
    """A file that maps `x`, (2, 8), to `y`, (2, 5)."""
    shapes = {"x": [2, 8], "y": [2, 5]}
    x, y = (helper.make_tensor_value_info(name, element, shape) for name, shape in shapes.items())
    initializers = [numpy_helper.from_array(array, name) for name, array in weights.items()]
    graph = helper.make_graph(nodes, "net", [x], [y], initializers)
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)


def captured(path: Path) -> tuple[Source, Path]:
    source = load_source(str(path))
    graph = capture(source, 20, path.with_name("model.onnx"), {})
    prove_capture(source, graph, seed=0)
    return source, graph.path


@pytest.mark.parametrize("kind", KINDS)
def test_it_computes_in_single_precision_and_takes_what_it_took(kind: str, tmp_path: Path) -> None:
    source, path = captured(network(tmp_path / "net.onnx", kind))
    model = onnx.load(path)
    assert {t.data_type for t in model.graph.initializer} == {TensorProto.FLOAT, TensorProto.INT64}
    element, dtype = KINDS[kind]
    assert (
        model.graph.input[0].type.tensor_type.elem_type == model.graph.output[0].type.tensor_type.elem_type == element
    )
    feed = {"x": np.random.default_rng(5).random((2, 3, 6, 6)).astype(dtype)}
    expected = answer(tmp_path / "net.onnx", feed["x"])
    found = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"]).run(None, feed)
    assert found[0].dtype == dtype and source.inputs["x"].dtype == dtype
    assert np.allclose(found[0], expected, atol=1e-5 if kind == "double" else 3e-3)


@pytest.mark.parametrize("kind", KINDS)
def test_another_weight_is_no_proof(kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The float32 form is held against the file itself, where onnxruntime has kernels in its precision."""
    element, dtype = KINDS[kind]
    weights = {"w": np.random.default_rng(0).normal(size=(8, 5)).astype(dtype)}
    save(tmp_path / "net.onnx", [helper.make_node("MatMul", ["x", "w"], ["y"])], weights, element)
    captured(tmp_path / "net.onnx")

    def wrong(model: ir.Model) -> bool:
        changed = in_single_precision(model)
        values = model.graph.initializers["w"].const_value.numpy().copy()
        values[0, 0] += 9
        model.graph.initializers["w"].const_value = ir.Tensor(values, name="w")
        return changed

    monkeypatch.setattr(original, "in_single_precision", wrong)
    with pytest.raises(VerificationError, match="other outputs in float32"):
        captured(tmp_path / "net.onnx")


def test_double_precision_at_one_place_of_a_float32_model_stays(tmp_path: Path) -> None:
    nodes = [
        helper.make_node("MatMul", ["x", "w"], ["m"]),
        helper.make_node("Cast", ["m"], ["d"], to=TensorProto.DOUBLE),
        helper.make_node("Add", ["d", "much"], ["a"]),
        helper.make_node("Sub", ["a", "much"], ["s"]),
        helper.make_node("Cast", ["s"], ["y"], to=TensorProto.FLOAT),
    ]
    weights = {"w": np.random.default_rng(0).normal(size=(8, 5)).astype(np.float32), "much": np.array(1e9)}
    save(tmp_path / "net.onnx", nodes, weights, TensorProto.FLOAT)
    _, path = captured(tmp_path / "net.onnx")
    assert TensorProto.DOUBLE in {t.data_type for t in onnx.load(path).graph.initializer}


@pytest.mark.parametrize("target", ["cpu", "mobile"])
@pytest.mark.parametrize("kind", KINDS)
def test_int8_of_it_is_made_and_fed_as_the_file_is(kind: str, target: str, tmp_path: Path) -> None:
    dtype = KINDS[kind][1]
    data = {"x": np.random.default_rng(1).random((200, 3, 6, 6)).astype(dtype)}
    np.savez(tmp_path / "data.npz", **data)
    bundle = edgepress.export(
        str(network(tmp_path / "net.onnx", kind)),
        target=target,
        precision="int8",
        calibration=str(tmp_path / "data.npz"),
        measure=False,
        output=tmp_path / "out",
    )
    feed = {"x": np.random.default_rng(5).random((2, 3, 6, 6)).astype(dtype)}
    expected = answer(tmp_path / "net.onnx", feed["x"])
    if target == "cpu":
        openvino = pytest.importorskip("openvino")
        found = openvino.Core().compile_model(bundle.path / "engine" / "model.xml", "CPU")(feed)["y"]
    else:
        session = onnxruntime.InferenceSession(bundle.path / "engine" / "model.ort", providers=["CPUExecutionProvider"])
        found = session.run(["y"], feed)[0]
    noise = ((found.astype(float) - expected) ** 2).sum()
    assert 10 * np.log10((expected**2).sum() / noise) > 20


@pytest.mark.parametrize("kind", KINDS)
def test_weights_that_are_inputs_too_are_no_inputs(kind: str, tmp_path: Path) -> None:
    """Up to IR version 3 a file lists every weight among its inputs."""
    path = network(tmp_path / "m.onnx", kind)
    listed = onnx.load(path)
    for tensor in listed.graph.initializer:
        listed.graph.input.append(helper.make_tensor_value_info(tensor.name, tensor.data_type, tensor.dims))
    onnx.save(listed, path)
    opened = original.Original.of(path, tmp_path)
    assert opened.remade
    feed = {"x": np.random.default_rng(0).normal(size=(2, 3, 6, 6)).astype(KINDS[kind][1])}
    opened.prove(feed, opened.values(feed))
