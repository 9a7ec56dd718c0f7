"""Files that say another number of axes of an output than it has."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper

import edgepress
from edgepress.errors import InputError

node = helper.make_node


def file(path: Path, nodes: list[onnx.NodeProto], shape: list[int | str], **sizes: list[int]) -> Path:
    """A file whose input x is a batch of (6,), and whose output y is said to have this shape."""
    weight = numpy_helper.from_array(np.random.default_rng(0).normal(size=(6, 1)).astype(np.float32), "w")
    constants = [numpy_helper.from_array(np.array(value, np.int64), name) for name, value in sizes.items()]
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, ["batch", 6])
    y = helper.make_tensor_value_info("y", TensorProto.FLOAT, shape)
    graph = helper.make_graph(nodes, "g", [x], [y], [weight, *constants])
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8), path)
    return path


def exported(path: Path, target: str, directory: Path, **options: object) -> edgepress.Bundle:
    return edgepress.export(path, target=target, precision="fp32", measure=False, output=directory, **options)


@pytest.mark.parametrize("target", ["cpu", "server-cpu", "mobile"])
def test_a_reshape_gives_the_axes_that_its_sizes_have(target: str, tmp_path: Path) -> None:
    # As a recogniser of captchas is written: (steps, batch, letters), and said to be (1, length).
    nodes = [
        node("Shape", ["x"], ["s"]),
        node("Gather", ["s", "first"], ["n"]),
        node("Concat", ["three", "n", "rest"], ["sizes"], axis=0),
        node("Relu", ["x"], ["r"]),
        node("Reshape", ["r", "sizes"], ["y"]),
    ]
    path = file(tmp_path / "letters.onnx", nodes, [1, "length"], first=[0], three=[3], rest=[-1])
    bundle = exported(path, target, tmp_path / "made")
    assert [len(output.shape) for output in bundle.manifest.model.outputs] == [3]
    x = np.random.default_rng(1).normal(size=(4, 6)).astype(np.float32)
    wanted = np.maximum(x, 0).reshape(3, 4, 2)
    found = onnxruntime.InferenceSession(bundle.path / "model.onnx").run(None, {"x": x})[0]
    np.testing.assert_allclose(found, wanted, atol=1e-6)


def test_a_number_of_axes_that_depends_on_sizes_is_refused_with_the_way_out(tmp_path: Path) -> None:
    nodes = [node("MatMul", ["x", "w"], ["m"]), node("Squeeze", ["m"], ["q"]), node("Sigmoid", ["q"], ["y"])]
    path = file(tmp_path / "score.onnx", nodes, [])
    with pytest.raises(InputError, match=r"'y' is declared with 0 axes, and is \(2,\)") as refused:
        exported(path, "server-cpu", tmp_path / "made")
    assert "--axis batch=1:1:1" in (refused.value.hint or "")
    assert "--axis batch=2:2:16" in (refused.value.hint or "")
    for name, sizes in (("one", (1, 1, 1)), ("more", (2, 2, 16))):
        reach = edgepress.AxisRange(**dict(zip(("smallest", "usual", "largest"), sizes, strict=True)))
        assert exported(path, "server-cpu", tmp_path / name, axes={"batch": reach}).path.exists()


@pytest.mark.parametrize("maker", ["MatMul", "Reshape"])
@pytest.mark.parametrize("precision", ["fp32", "int8"])
def test_a_batch_of_one_that_is_declared_behind_a_free_batch_is_free(
    maker: str, precision: str, tmp_path: Path
) -> None:
    nodes = [node("MatMul", ["x", "w"], ["h"]), node("Relu", ["h"], ["r"]), node("MatMul", ["r", "v"], ["y"])]
    path = wide(tmp_path / "net.onnx", nodes, ["batch", 6])
    if maker == "Reshape":  # whose sizes are computed, so that they do not follow from the inputs'
        nodes[2:] = [node("Shape", ["r"], ["s"]), node("MatMul", ["r", "v"], ["m"]), node("Reshape", ["m", "s"], ["y"])]
        path = wide(tmp_path / "net.onnx", nodes, ["batch", 6])
    rng = np.random.default_rng(1)
    data = [{"x": rng.normal(size=(4, 6)).astype(np.float32)} for _ in range(8)]
    bundle = edgepress.export(
        path, target="server-cpu", precision=precision, calibration=data, measure=False, output=tmp_path / "made"
    )
    (output,) = bundle.manifest.model.outputs
    assert isinstance(output.shape[0], str)
    assert output.shape[1] == 6 or maker == "Reshape"


def wide(path: Path, nodes: list[onnx.NodeProto], shape: list[int | str]) -> Path:
    """A file whose output y is said to be (1, 6), of an input of the shape."""
    rng = np.random.default_rng(0)
    weights = [numpy_helper.from_array(rng.normal(size=(6, 6)).astype(np.float32), name) for name in ("w", "v")]
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)
    y = helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 6])
    graph = helper.make_graph(nodes, "g", [x], [y], weights)
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8), path)
    return path
