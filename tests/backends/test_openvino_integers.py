"""Whole numbers of 64 bits on a runtime that computes them in 32: hashes of ids, times in milliseconds."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from edgepress import export

pytest.importorskip("openvino")


def hashing(path: Path) -> Path:
    """A table of 50 rows, looked up by ids modulo 50."""
    table = np.random.default_rng(0).normal(size=(50, 8)).astype(np.float32)
    constants = {"table": table, "rows": np.int64(50)}
    nodes = [
        helper.make_node("Mod", ["ids", "rows"], ["row"], name="row"),
        helper.make_node("Gather", ["table", "row"], ["y"], name="look_up"),
    ]
    graph = helper.make_graph(
        nodes,
        "hashing",
        [helper.make_tensor_value_info("ids", TensorProto.INT64, ["batch", 4])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["batch", 4, 8])],
        [numpy_helper.from_array(np.asarray(array), name) for name, array in constants.items()],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)
    return path


def test_what_may_be_of_any_size_is_told_where_no_data_show_it(tmp_path: Path) -> None:
    bundle = export(hashing(tmp_path / "net.onnx"), target="cpu", precision="fp32", measure=False, output=tmp_path)
    assert "whole numbers in 32 bits: input 'ids' (read by row)" in (bundle.path / "report.md").read_text()
