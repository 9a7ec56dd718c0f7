"""Names that meet: of values, of nodes, and of arrays in a file."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import onnx_ir as ir
import onnxruntime
import torch
from onnx import TensorProto, helper, numpy_helper
from torch import nn

from edgepress.backends.places.job import load_arrays, save_arrays
from edgepress.exporter.capture.capture import capture
from edgepress.exporter.capture.proof import prove_capture
from edgepress.exporter.graphs.files import write_model
from edgepress.exporter.graphs.names import value_names, with_names_of_its_own
from edgepress.exporter.graphs.values import add_constant
from edgepress.exporter.sources import load_source, source_from_object, torch_predict
from edgepress.exporter.sources.torch_module import named_outputs


def branching() -> onnx.ModelProto:
    """x where a mean is positive, else -x; the body of each branch has a value `inside`."""
    bodies = [
        helper.make_graph(
            [
                helper.make_node(operator, ["x"], ["inside"]),
                helper.make_node("Identity", ["inside"], [f"{operator}_out"]),
            ],
            operator,
            [],
            [helper.make_tensor_value_info(f"{operator}_out", TensorProto.FLOAT, ["n"])],
        )
        for operator in ("Identity", "Neg")
    ]
    nodes = [
        helper.make_node("ReduceMean", ["x"], ["mean"], keepdims=0),
        helper.make_node("Greater", ["mean", "zero"], ["positive"]),
        helper.make_node("If", ["positive"], ["y"], then_branch=bodies[0], else_branch=bodies[1]),
    ]
    graph = helper.make_graph(
        nodes,
        "branching",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n"])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n"])],
        [numpy_helper.from_array(np.float32(0), "zero")],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def answer(path: Path) -> list[np.ndarray]:
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    return [session.run(None, {"x": np.float32(x)})[0] for x in ([1, 2], [-1, -2])]


def test_a_new_constant_takes_no_name_of_an_input_nor_of_a_body() -> None:
    model = ir.from_proto(branching())
    assert {"x", "zero", "mean", "positive", "y", "inside", "Neg_out"} <= value_names(model.graph)
    names = [add_constant(model.graph, name, np.zeros(2, np.float32)).name for name in ("x", "inside", "fresh")]
    assert names == ["x_1", "inside_1", "fresh"]


def test_values_of_one_name_are_told_apart_where_a_model_is_written(tmp_path: Path) -> None:
    model = ir.from_proto(branching())
    write_model(model, tmp_path / "right.onnx")
    for name in ("x", "inside"):
        value = ir.Value(name=name, const_value=ir.tensor(np.float32([7, 7]), name=name))
        model.graph.register_initializer(value)
        node = ir.node("Add", [model.graph.inputs[0], value])
        node.outputs[0].name = "zero"
        model.graph.insert_before(model.graph[0], node)
    write_model(model, tmp_path / "mended.onnx")
    written = onnx.load(tmp_path / "mended.onnx")
    assert "x" not in {tensor.name for tensor in written.graph.initializer}
    assert np.array_equal(answer(tmp_path / "mended.onnx"), answer(tmp_path / "right.onnx"))


def test_nodes_of_one_name_are_told_apart(tmp_path: Path) -> None:
    model = branching()
    for node in (*model.graph.node, *model.graph.node[2].attribute[0].g.node):
        node.name = "node"
    onnx.save(model, tmp_path / "same.onnx")
    mended = with_names_of_its_own(tmp_path / "same.onnx", tmp_path)
    assert mended != tmp_path / "same.onnx"
    assert np.array_equal(answer(mended), [[1, 2], [1, 2]])
    assert with_names_of_its_own(mended, tmp_path) == mended
    source = load_source(str(tmp_path / "same.onnx"))
    graph = capture(source, 20, tmp_path / "model.onnx", {})
    assert all(found.max_abs == 0 for found in prove_capture(source, graph, seed=0).values())


def test_outputs_whose_names_meet_are_numbered(tmp_path: Path) -> None:
    class Heads(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.b = nn.Linear(4, 2), nn.Linear(4, 3)

        def forward(self, x: torch.Tensor) -> dict[str, object]:
            return {"head_a": self.a(x), "head": {"a": self.b(x)}, "x": x * 2, "x_output": x * 3}

    source = source_from_object(Heads(), {"x": torch.rand(2, 4)})
    graph = capture(source, 20, tmp_path / "model.onnx", {})
    assert [spec.name for spec in graph.outputs] == ["head_a", "head_a_1", "x_output_1", "x_output"]
    assert {name: array.shape for name, array in torch_predict(source)(source.inputs).items()}["head_a_1"] == (2, 3)
    assert all(found.sqnr_db > 100 for found in prove_capture(source, graph, seed=0).values())
    assert list(named_outputs((torch.ones(1), {"0": torch.ones(1)}))) == ["output_0", "output_1_0"]


def test_arrays_are_written_under_any_name(tmp_path: Path) -> None:
    arrays = {
        name: np.full(2, i)
        for i, name in enumerate(("file", "args", "kwds", "allow_pickle", "self", "a/b", "..", "x.npy"))
    }
    save_arrays(tmp_path / "arrays.npz", arrays)
    loaded = load_arrays(tmp_path / "arrays.npz")
    assert list(loaded) == list(arrays)
    assert all(np.array_equal(loaded[name], array) for name, array in arrays.items())
