"""Whole numbers of 64 bits on a runtime that computes them in 32: hashes of ids, times in milliseconds."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from edgepress import export
from edgepress.errors import EdgepressError

pytest.importorskip("openvino")


def hashing(path: Path, factor: int = 1) -> Path:
    """A table of 50 rows, looked up by ids times a factor, modulo 50."""
    table = np.random.default_rng(0).normal(size=(50, 8)).astype(np.float32)
    constants = {"table": table, "rows": np.int64(50), "factor": np.int64(factor)}
    nodes = [
        helper.make_node("Mul", ["ids", "factor"], ["spread"], name="spread"),
        helper.make_node("Mod", ["spread" if factor > 1 else "ids", "rows"], ["row"], name="row"),
        helper.make_node("Gather", ["table", "row"], ["y"], name="look_up"),
    ]
    graph = helper.make_graph(
        nodes[factor == 1 :],
        "hashing",
        [helper.make_tensor_value_info("ids", TensorProto.INT64, ["batch", 4])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["batch", 4, 8])],
        [numpy_helper.from_array(np.asarray(array), name) for name, array in constants.items()],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)
    return path


def ids(low: int, high: int) -> list[dict[str, np.ndarray[tuple[int, ...], np.dtype[np.int64]]]]:
    rng = np.random.default_rng(1)
    return [{"ids": rng.integers(low, high, (4, 4))} for _ in range(4)]


@pytest.mark.parametrize(("factor", "low", "high", "named"), [(1, 10**11, 10**12, "ids"), (2**30, 3, 99, "spread")])
def test_numbers_that_the_runtime_does_not_hold_are_named_as_the_cause(
    tmp_path: Path, factor: int, low: int, high: int, named: str
) -> None:
    path = hashing(tmp_path / "net.onnx", factor)
    with pytest.raises(EdgepressError) as no:
        export(path, target="cpu", precision="fp32", calibration=ids(low, high), measure=False, output=tmp_path)
    assert f"openvino computes whole numbers in 32 bits, and {named!r} goes beyond" in str(no.value)
    assert "server-cpu" in str(no.value)


def test_what_may_be_of_any_size_is_told_where_no_data_show_it(tmp_path: Path) -> None:
    bundle = export(hashing(tmp_path / "net.onnx"), target="cpu", precision="fp32", measure=False, output=tmp_path)
    assert "whole numbers in 32 bits: input 'ids' (read by row)" in (bundle.path / "report.md").read_text()


def test_onnxruntime_has_all_bits(tmp_path: Path) -> None:
    path = hashing(tmp_path / "net.onnx")
    export(path, target="server-cpu", precision="fp32", calibration=ids(10**11, 10**12), measure=False, output=tmp_path)
