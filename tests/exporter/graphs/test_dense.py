"""Weights that a file stores without their zeros."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from edgepress.exporter.capture.capture import capture
from edgepress.exporter.capture.proof import prove_capture
from edgepress.exporter.graphs.files import read_model
from edgepress.exporter.sources import load_source

WEIGHT = np.where(np.arange(24).reshape(6, 4) % 3, 0, np.linspace(-1, 1, 24).reshape(6, 4)).astype(np.float32)


def sparse(name: str, *, by_axis: bool = False) -> onnx.SparseTensorProto:
    places = np.argwhere(WEIGHT) if by_axis else np.flatnonzero(WEIGHT)
    values = numpy_helper.from_array(WEIGHT[WEIGHT != 0], name)
    return helper.make_sparse_tensor(values, numpy_helper.from_array(places.astype(np.int64)), list(WEIGHT.shape))


def written(path: Path, nodes: list[onnx.NodeProto], held: list[onnx.SparseTensorProto]) -> Path:
    ends = [helper.make_tensor_value_info(n, TensorProto.FLOAT, ["n", size]) for n, size in (("x", 6), ("y", 4))]
    graph = helper.make_graph(nodes, "net", ends[:1], ends[1:], sparse_initializer=held)
    graph.initializer.append(numpy_helper.from_array(np.float32(0), "zero"))
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)
    return path


def proven(path: Path) -> None:
    source = load_source(str(path))
    found = prove_capture(source, capture(source, 20, path.with_name("model.onnx"), {}), seed=0)
    assert found["y"].sqnr_db > 100


PRODUCT = helper.make_node("MatMul", ["x", "w"], ["y"])


@pytest.mark.parametrize("by_axis", [False, True])
def test_a_sparse_weight_is_a_weight(by_axis: bool, tmp_path: Path) -> None:
    path = written(tmp_path / "net.onnx", [PRODUCT], [sparse("w")])
    read = onnx.load(path)
    read.graph.sparse_initializer[0].CopyFrom(sparse("w", by_axis=by_axis))
    onnx.save(read, path)
    held = read_model(path).graph.initializers["w"].const_value
    assert held is not None
    np.testing.assert_array_equal(held.numpy(), WEIGHT)
    if not by_axis:  # onnxruntime 1.31 knows no places by axis, so that there is nothing to hold it against
        proven(path)


def test_of_a_constant(tmp_path: Path) -> None:
    constant = helper.make_node("Constant", [], ["w"], sparse_value=sparse("w"))
    proven(written(tmp_path / "net.onnx", [constant, PRODUCT], []))


def test_that_bodies_read(tmp_path: Path) -> None:
    arms = [
        helper.make_graph(
            [helper.make_node("MatMul", ["x", "w"], [f"{kind}_in"]), helper.make_node(kind, [f"{kind}_in"], [kind])],
            kind,
            [],
            [helper.make_tensor_value_info(kind, TensorProto.FLOAT, ["n", 4])],
        )
        for kind in ("Relu", "Neg")
    ]
    nodes = [
        helper.make_node("ReduceSum", ["x"], ["sum"], keepdims=0),
        helper.make_node("Greater", ["sum", "zero"], ["is"]),
        helper.make_node("If", ["is"], ["y"], then_branch=arms[0], else_branch=arms[1]),
    ]
    proven(written(tmp_path / "net.onnx", nodes, [sparse("w")]))
