"""Where NaN and Inf come from is told."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from edgepress.backends.places import Reference
from edgepress.errors import VerificationError
from edgepress.exporter.graphs.files import read_graph
from edgepress.exporter.graphs.not_finite import NotFinite, not_finite
from edgepress.exporter.quantization.judging import JudgingSamples


def written(path: Path) -> Path:
    """A mask of -inf, which is meant, beside a logarithm of what a step of 1/4 rounds to 0."""
    nodes = [
        helper.make_node("Add", ["x", "mask"], ["masked"], "mask"),
        helper.make_node("Softmax", ["masked"], ["shares"], "shares"),
        helper.make_node("Mul", ["shares", "four"], ["scaled"], "scale"),
        helper.make_node("Round", ["scaled"], ["rounded"], "round"),
        helper.make_node("Log", ["rounded"], ["loud"], "loud"),
        helper.make_node("Mul", ["loud", "four"], ["y"], "last"),
    ]
    constants = {"mask": np.array([0, 0, 0, -np.inf], np.float32), "four": np.float32(4)}
    floats = [
        helper.make_tensor_value_info(n, TensorProto.FLOAT, [1, 4]) for n in ("masked", "shares", "scaled", "loud")
    ]
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 4])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 4])],
        [numpy_helper.from_array(np.asarray(array), name) for name, array in constants.items()],
        value_info=floats,
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)
    return path


FEED = {"x": np.array([[0, 0, 0, 0]], np.float32)}


def test_the_first_node_that_makes_it_is_named_and_no_mask(tmp_path: Path) -> None:
    path = written(tmp_path / "model.onnx")
    found = not_finite(path, FEED)
    assert found == NotFinite(node="loud", operator="Log")
    assert "A logarithm of 0 is infinite" in found.remedy


def test_a_candidate_that_is_not_finite_is_told_of_with_the_node(tmp_path: Path) -> None:
    graph = read_graph(written(tmp_path / "model.onnx"))
    right = [{"y": np.ones((1, 4), np.float32)}] * 2
    samples = JudgingSamples(feeds=[FEED, FEED], kind="samples", expected=right)
    with Reference().values(graph.path) as values, pytest.raises(VerificationError) as caught:
        samples.compare([right[0], values(FEED)], graph)
    assert "'loud' (Log)" in caught.value.message
    assert "--exclude" in str(caught.value.hint) and "--precision" in str(caught.value.hint)


def test_an_engine_that_alone_is_not_finite_is_told_from_its_graph(tmp_path: Path) -> None:
    graph = read_graph(written(tmp_path / "model.onnx"))
    feed = {"x": np.array([[0, 0, 0, 0]], np.float32)}
    whole = onnx.load(graph.path)
    whole.graph.initializer[1].CopyFrom(numpy_helper.from_array(np.float32(40), "four"))
    whole.graph.initializer[0].CopyFrom(numpy_helper.from_array(np.zeros(4, np.float32), "mask"))
    onnx.save(whole, graph.path)
    samples = JudgingSamples(feeds=[feed], kind="samples", expected=[{"y": np.ones((1, 4), np.float32)}])
    with pytest.raises(VerificationError, match="every value inside of its graph finite"):
        samples.compare([{"y": np.full((1, 4), np.nan, np.float32)}], graph)
