"""Remainders of whole numbers, which OpenVINO takes in float32."""

from pathlib import Path

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

openvino = pytest.importorskip("openvino")
from edgepress.backends._openvino.remainders import exact_remainders  # noqa: E402

VALUES = np.array([5, 2**24 + 1, 10**9 + 7, 2**31 - 1, -7, -(2**24) - 3, -(10**9) - 7, 0], np.int64)


def remainders(path: Path, by: int | list[int], sized: bool = False) -> tuple[NDArray[np.int64], int]:
    """What OpenVINO gives for the values, and how many remainders were rewritten."""
    node = helper.make_node
    nodes = [node("Shape", ["x"], ["s"])] * sized + [node("Mod", ["s" if sized else "x", "by"], ["y"], name="mod")]
    ends = [helper.make_tensor_value_info(name, TensorProto.INT64, ["n"]) for name in "xy"]
    graph = helper.make_graph(nodes, "net", ends[:1], ends[1:], [numpy_helper.from_array(np.array(by), "by")])
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)
    model = openvino.Core().read_model(path)
    found = exact_remainders(model)
    assert model.output(0).get_names() == {"y"}
    return openvino.Core().compile_model(model, "CPU")([VALUES])[0], found


@pytest.mark.parametrize("by", [64, 1, 7, 1000, 32_768, -10, [3, 64, 97, 1009, 5, 11, 12, 1]])
def test_they_are_exact(by: int | list[int], tmp_path: Path) -> None:
    answers, found = remainders(tmp_path / "m.onnx", by)
    assert found == 1
    np.testing.assert_array_equal(answers, VALUES % np.array(by))


@pytest.mark.parametrize(("by", "sized"), [(2**20, False), (64, True)])
def test_by_large_numbers_and_of_sizes_they_are_left_alone(by: int, sized: bool, tmp_path: Path) -> None:
    assert remainders(tmp_path / "m.onnx", by, sized)[1] == 0
