"""Files that store weights in integers and compute in floats."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper

from edgepress.exporter.capture.capture import capture
from edgepress.exporter.capture.proof import prove_capture
from edgepress.exporter.sources import load_source

RNG = np.random.default_rng(0)
SCALES = np.linspace(0.01, 0.05, 8, dtype=np.float32)
INTEGERS = RNG.integers(-100, 100, (16, 8))


def tensor(name: str, array: np.ndarray) -> TensorProto:
    return numpy_helper.from_array(np.asarray(array), name)


KINDS: dict[str, tuple[int, dict[str, int], list[TensorProto]]] = {
    "one scale": (17, {}, [tensor("q", INTEGERS.astype(np.int8)), tensor("s", SCALES[3])]),
    "a zero point": (
        17,
        {},
        [tensor("q", (INTEGERS + 100).astype(np.uint8)), tensor("s", SCALES[3]), tensor("z", np.array(90, np.uint8))],
    ),
    "a scale a column": (
        17,
        {"axis": -1},
        [tensor("q", INTEGERS.astype(np.int8)), tensor("s", SCALES), tensor("z", np.arange(8, dtype=np.int8))],
    ),
    "a scale a row": (13, {"axis": 0}, [tensor("q", INTEGERS.astype(np.int8)), tensor("s", np.tile(SCALES, 2))]),
    "blocks of four bits": (
        21,
        {"axis": 0, "block_size": 4},
        [
            helper.make_tensor("q", TensorProto.INT4, [16, 8], (INTEGERS % 15 - 8).ravel()),
            tensor("s", RNG.random((4, 8)).astype(np.float32)),
        ],
    ),
}


def write(path: Path, kind: str) -> Path:
    opset, attributes, stored = KINDS[kind]
    nodes = [
        helper.make_node("DequantizeLinear", [each.name for each in stored], ["w"], **attributes),
        helper.make_node("MatMul", ["x", "w"], ["m"]),
        helper.make_node("Relu", ["m"], ["y"]),
    ]
    ends = [helper.make_tensor_value_info(n, TensorProto.FLOAT, [4, size]) for n, size in (("x", 16), ("y", 8))]
    graph = helper.make_graph(nodes, "stored", ends[:1], ends[1:], stored)
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=10), path)
    return path


@pytest.mark.parametrize("kind", KINDS)
def test_weights_stored_in_integers_are_their_floats(kind: str, tmp_path: Path) -> None:
    source = load_source(str(write(tmp_path / "net.onnx", kind)))
    graph = capture(source, 20, tmp_path / "model.onnx", {})
    prove_capture(source, graph, seed=0)
    model = onnx.load(graph.path)
    assert [node.op_type for node in model.graph.node] == ["MatMul", "Relu"]
    assert [t.data_type for t in model.graph.initializer] == [TensorProto.FLOAT]
    feed = {"x": RNG.random((4, 16)).astype(np.float32)}
    options = onnxruntime.SessionOptions()  # optimized, it rounds activations beside weights in integers
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    expected, found = (
        onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"]).run(None, feed)[0]
        for path in (tmp_path / "net.onnx", graph.path)
    )
    assert np.abs(expected).max() > 0.1 and np.allclose(expected, found, rtol=1e-5, atol=1e-5)


def test_by_the_runtimes_own_operator_and_from_a_constant_node(tmp_path: Path) -> None:
    path = write(tmp_path / "net.onnx", "one scale")
    model = onnx.load(path)
    integers = next(each for each in model.graph.initializer if each.name == "q")
    model.graph.initializer.remove(integers)
    model.graph.initializer.append(tensor("z", np.array(0, np.int8)))
    model.graph.node[0].domain = "com.microsoft"
    model.graph.node[0].input.append("z")
    model.graph.node.insert(0, helper.make_node("Constant", [], ["q"], value=integers))
    model.opset_import.append(helper.make_opsetid("com.microsoft", 1))
    onnx.save(model, path)
    assert_floats(path)


def test_in_a_function_of_the_file(tmp_path: Path) -> None:
    path = write(tmp_path / "net.onnx", "one scale")
    model = onnx.load(path)
    inner = helper.make_node("DequantizeLinear", ["a", "b"], ["c"])
    opset = list(model.opset_import)
    model.functions.append(helper.make_function("own", "Unpack", ["a", "b"], ["c"], [inner], opset))
    model.graph.node[0].CopyFrom(helper.make_node("Unpack", ["q", "s"], ["w"], domain="own"))
    model.opset_import.append(helper.make_opsetid("own", 1))
    onnx.save(model, path)
    assert_floats(path)


def assert_floats(path: Path) -> None:
    source = load_source(str(path))
    graph = capture(source, 20, path.with_name("model.onnx"), {})
    prove_capture(source, graph, seed=0)
    assert [node.op_type for node in onnx.load(graph.path).graph.node] == ["MatMul", "Relu"]
