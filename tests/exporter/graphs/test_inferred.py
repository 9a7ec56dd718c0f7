"""Shapes that ONNX's own rules contradict: nothing is logged of them, and the graph stays as it was."""

from __future__ import annotations

import logging

import numpy as np
import onnx_ir as ir
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper

from edgepress.exporter.graphs.inferred import infer_shapes


def with_a_window_in_the_padding() -> ir.Model:
    """Means of two by a stride of two over nine and a border: six of them by the rule of ONNX, five in runtimes."""
    nodes = [
        helper.make_node("AveragePool", ["x"], ["a"], kernel_shape=[2], strides=[2], pads=[1, 1], ceil_mode=1),
        helper.make_node("MatMul", ["a", "w"], ["y"]),
    ]
    graph = helper.make_graph(
        nodes,
        "pool",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [2, 3, 9])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [2, 3, 4])],
        [numpy_helper.from_array(np.zeros((5, 4), np.float32), "w")],
    )
    return ir.serde.deserialize_model(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 15)]))


@pytest.mark.parametrize("strict", [True, False])
def test_a_contradiction_is_not_logged(strict: bool, caplog: pytest.LogCaptureFixture) -> None:
    model = with_a_window_in_the_padding()
    with caplog.at_level(logging.DEBUG):
        infer_shapes(model, strict=strict)
    assert not caplog.records
    assert [node.op_type for node in model.graph] == ["AveragePool", "MatMul"]


def test_what_follows_is_written() -> None:
    model = with_a_window_in_the_padding()
    del model.graph.node(0).attributes["ceil_mode"]
    infer_shapes(model)
    assert model.graph.node(0).outputs[0].shape == ir.Shape([2, 3, 5])


def sequences(kind: str) -> ir.Model:
    """A value put into a sequence, by itself or in a branch, and taken out of it."""
    value, body = helper.make_tensor_value_info, helper.make_graph
    if kind == "made":
        nodes = [helper.make_node("SplitToSequence", ["x", "one"], ["s"], axis=1)]
    else:
        of = helper.make_tensor_sequence_value_info
        arms = [
            body([helper.make_node("SequenceConstruct", inputs, [name])], name, [], [of(name, TensorProto.FLOAT, None)])
            for name, inputs in (("then", ["x", "x"]), ("else", ["x"]))
        ]
        nodes = [helper.make_node("If", ["c"], ["s"], then_branch=arms[0], else_branch=arms[1])]
    nodes += [
        helper.make_node("Identity", ["s"], ["again"]),
        helper.make_node("SequenceAt", ["again", "zero"], ["y"]),
    ]
    constants = {"one": np.int64(1), "zero": np.int64(0), "c": np.bool_(True)}
    graph = body(
        nodes,
        "sequences",
        [value("x", TensorProto.FLOAT, [2, 4])],
        [value("y", TensorProto.FLOAT, None)],
        [numpy_helper.from_array(np.asarray(array), name) for name, array in constants.items()],
    )
    return ir.serde.deserialize_model(
        helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    )


@pytest.mark.parametrize("kind", ["made", "branch"])
def test_a_sequence_is_no_tensor(kind: str) -> None:
    model = sequences(kind)
    infer_shapes(model)
    session = onnxruntime.InferenceSession(ir.serde.serialize_model(model).SerializeToString())
    x = np.arange(8, dtype=np.float32).reshape(2, 4)
    np.testing.assert_array_equal(session.run(None, {"x": x})[0], x[:, :1] if kind == "made" else x)
