from __future__ import annotations

from pathlib import Path

import onnx
from onnx import TensorProto, helper

from edgepress.backends.base import AxisRange
from edgepress.backends.places import Local
from edgepress.exporter.capture.capture import capture
from edgepress.exporter.capture.proof import prove_capture
from edgepress.exporter.sources import load_source
from edgepress.profiles.device.target import load_target

AXES = {"n": AxisRange(smallest=1, usual=3, largest=9), "m": AxisRange(smallest=1, usual=5, largest=9)}


def written(path: Path) -> Path:
    """Diagonals of two kinds and a row up and two down, of a matrix of free size."""
    nodes = [
        helper.make_node("EyeLike", ["x"], ["main"]),
        helper.make_node("EyeLike", ["x"], ["above"], k=1, dtype=TensorProto.FLOAT),
        helper.make_node("EyeLike", ["x"], ["below"], k=-2, dtype=TensorProto.INT64),
        helper.make_node("Cast", ["below"], ["floats"], to=TensorProto.FLOAT),
        helper.make_node("Sum", ["main", "above", "floats", "x"], ["y"]),
    ]
    ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["n", "m"]) for name in ("x", "y")]
    graph = helper.make_graph(nodes, "eyes", ends[:1], ends[1:])
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)
    return path


def test_diagonals_of_a_free_size_are_the_same_without_eyelike(tmp_path: Path) -> None:
    source = load_source(str(written(tmp_path / "eyes.onnx")))
    graph = capture(source, 17, tmp_path / "model.onnx", AXES)
    assert "EyeLike" not in {node.op_type for node in onnx.load(graph.path).graph.node}
    assert all(found.sqnr_db > 100 for found in prove_capture(source, graph, 0).values())
    for target in map(load_target, ("server-cpu", "cpu", "rtx")):
        if not Local().why_not_built(target):
            assert Local().check(graph, target) == ()
