"""Counts and rounded values are amounts; classes, places and masks are not, whatever they are cast to."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

import edgepress
from edgepress.errors import VerificationError
from edgepress.exporter.capture.amounts import amounts

N = helper.make_node
TO_INT, TO_FLOAT = {"to": TensorProto.INT64}, {"to": TensorProto.FLOAT}
CASES: dict[str, tuple[bool, list[onnx.NodeProto]]] = {
    "rounded": (True, [N("Round", ["h"], ["r"]), N("Cast", ["r"], ["y"], **TO_INT)]),
    "a rounded product": (True, [N("Mul", ["h", "ten"], ["m"]), N("Cast", ["m"], ["y"], **TO_INT)]),
    "a count": (True, [N("Greater", ["h", "ten"], ["g"]), N("Cast", ["g"], ["i"], **TO_INT),
                       N("ReduceSum", ["i", "axis"], ["y"])]),
    "a count, moved and doubled": (True, [N("Greater", ["h", "ten"], ["g"]), N("Cast", ["g"], ["i"], **TO_INT),
                                          N("ReduceSum", ["i", "axis"], ["s"]), N("Mul", ["s", "two"], ["d"]),
                                          N("Transpose", ["d"], ["y"])]),
    "a class": (False, [N("ArgMax", ["h"], ["y"], axis=1)]),
    "the next class": (False, [N("ArgMax", ["h"], ["a"], axis=1), N("Add", ["a", "two"], ["y"])]),
    "a class by way of floats": (False, [N("ArgMax", ["h"], ["a"], axis=1), N("Cast", ["a"], ["f"], **TO_FLOAT),
                                         N("Mul", ["f", "ten"], ["m"]), N("Cast", ["m"], ["y"], **TO_INT)]),
    "a place": (False, [N("TopK", ["h", "axis"], ["v", "y"])]),
    "a mask": (False, [N("Greater", ["h", "ten"], ["g"]), N("Cast", ["g"], ["y"], **TO_INT)]),
    "a size": (False, [N("Shape", ["h"], ["y"])]),
    "a class beside a count": (False, [N("ArgMax", ["h"], ["a"], axis=1), N("Cast", ["h"], ["i"], **TO_INT),
                                       N("ReduceSum", ["i", "axis"], ["s"]), N("Concat", ["a", "s"], ["y"], axis=1)]),
    "a float": (False, [N("Relu", ["h"], ["y"])]),
}  # fmt: skip


def write(path: Path, nodes: list[onnx.NodeProto], kind: int = TensorProto.INT64, apart: float = 1) -> Path:
    """A file whose integers come of eight products, which differ by so much from each other."""
    rng = np.random.default_rng(0)
    constants = {
        "w": (rng.normal(size=(16, 1)) + apart * rng.normal(size=(16, 8))).astype(np.float32),
        "ten": np.float32(10) * np.ones(1, np.float32),
        "two": np.array(2),
        "axis": np.array([1]),
    }
    rank = 1 if nodes[-1].op_type == "Shape" else 2
    graph = helper.make_graph(
        [N("MatMul", ["x", "w"], ["h"]), *nodes],
        "integers",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [4, 16])],
        [helper.make_tensor_value_info("y", kind, [None] * rank)],
        [numpy_helper.from_array(array, name) for name, array in constants.items()],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)
    return path


@pytest.mark.parametrize("name", CASES)
def test_it_is_told_by_what_makes_it(name: str, tmp_path: Path) -> None:
    expected, nodes = CASES[name]
    kind = TensorProto.FLOAT if name == "a float" else TensorProto.INT64
    assert amounts(write(tmp_path / "net.onnx", nodes, kind)) == ({"y"} if expected else set())


def exported(path: Path, nodes: list[onnx.NodeProto], apart: float = 1) -> edgepress.Bundle:
    data = {"x": 30 * np.random.default_rng(1).normal(size=(200, 16)).astype(np.float32)}
    np.savez(path / "data.npz", **data)
    return edgepress.export(
        str(write(path / "net.onnx", nodes, apart=apart)), target="server-cpu", precision="int8", measure=False,
        calibration=str(path / "data.npz"), output=path / "out",
    )  # fmt: skip


def test_values_that_are_off_by_one_are_no_collapse_and_verify_agrees(tmp_path: Path) -> None:
    bundle = exported(tmp_path, CASES["rounded"][1])
    edgepress.verify_bundle(bundle.path)
    (found,) = json.loads((bundle.path / "report.json").read_text())["parity"]["engine"].values()
    assert 20 < found["sqnr_db"] < 60 and found["max_abs"] >= 1


def test_classes_that_int8_confuses_are_named_with_a_way_out(tmp_path: Path) -> None:
    with pytest.raises(VerificationError, match="output 'y' has") as refused:
        exported(tmp_path, CASES["a class"][1], apart=0.003)
    assert "choose outside of the model" in str(refused.value.hint)
