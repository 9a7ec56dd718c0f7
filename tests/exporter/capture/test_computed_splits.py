"""A split into parts of a computed size, as of the two halves of a batch, is slices that every runtime has."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnx_ir as ir
import onnxruntime
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper
from torch import nn

import edgepress
from edgepress.backends.base import AxisRange
from edgepress.exporter.capture.rewrites.computed_splits import splits_by_slices

node = helper.make_node


class Halves(nn.Module):
    """A siamese network: the first half of the batch beside the second."""

    def __init__(self, how: str) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.how, self.conv, self.head = how, nn.Conv2d(3, 8, 3, 2), nn.Linear(8, 6)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        seen = self.head(torch.relu(self.conv(x)).mean((2, 3)))
        half = seen.shape[0] // 2
        one, other = torch.split(seen, half) if self.how == "function" else seen.split(split_size=half, dim=0)
        return (one * other).sum(1)


@pytest.mark.parametrize("target", ["cpu", "server-cpu"])
@pytest.mark.parametrize("how", ["function", "method"])
def test_halves_of_a_free_batch_are_exported_and_right(tmp_path: Path, target: str, how: str) -> None:
    model, x = Halves(how).eval(), torch.randn(4, 3, 16, 16, generator=torch.Generator().manual_seed(1))
    options = {"target": target, "precision": "fp32", "measure": False, "output": tmp_path}
    pairs = {"pairs": AxisRange(smallest=2, usual=4, largest=32)}
    bundle = edgepress.export(model, {"x": x}, dynamic={"x": {0: "pairs"}}, axes=pairs, **options)
    graph = onnx.load(bundle.path / "model.onnx").graph
    assert not {"SplitToSequence", "SequenceAt"} & {each.op_type for each in graph.node}
    more = torch.randn(10, 3, 16, 16, generator=torch.Generator().manual_seed(2))
    (found,) = onnxruntime.InferenceSession(bundle.path / "model.onnx").run(None, {"x": more.numpy()})
    np.testing.assert_allclose(found, model(more).detach().numpy(), rtol=1e-4, atol=1e-5)


def split(index: int, size: Any = None, axis: int = -1) -> onnx.ModelProto:
    """One part along an axis; the size of a part is half of the axis, or given."""
    halved = [
        node("Shape", ["x"], ["shape"]),
        node("Gather", ["shape", "axis"], ["count"], axis=0),
        node("Div", ["count", "two"], ["size"]),
    ]
    constants = {"axis": np.int64(axis), "two": np.int64(2), "index": np.int64(index)}
    if size is not None:
        halved, constants = [], {**constants, "size": size}
    nodes = [
        *halved,
        node("SplitToSequence", ["x", "size"], ["parts"], axis=axis),
        node("SequenceAt", ["parts", "index"], ["y"]),
    ]
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 3, "t"])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["a", "b", "c"])],
        [numpy_helper.from_array(np.asarray(value), name) for name, value in constants.items()],
    )
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    return onnx.shape_inference.infer_shapes(made)


def run(model: onnx.ModelProto, x: Any) -> Any:
    onnx.checker.check_model(model, full_check=True)
    return onnxruntime.InferenceSession(model.SerializeToString()).run(None, {"x": x})[0]


@pytest.mark.parametrize("index", [0, 1])
@pytest.mark.parametrize("axis", [0, -1])
@pytest.mark.parametrize("size", [None, np.int64(2)])
def test_each_part_is_the_same(index: int, axis: int, size: Any) -> None:
    before = split(index, size, axis)
    after = ir.from_proto(before)
    assert splits_by_slices(after) == 1
    assert not Counter(each.op_type for each in after.graph).keys() & {"SplitToSequence", "SequenceAt"}
    x = np.random.default_rng(0).normal(size=(4, 3, 4)).astype(np.float32)
    np.testing.assert_array_equal(run(ir.to_proto(after), x), run(before, x))


@pytest.mark.parametrize(("index", "size"), [(-1, np.int64(2)), (0, np.array([1, 3], np.int64))])
def test_parts_of_sizes_of_their_own_and_the_last_one_stay(index: int, size: Any) -> None:
    assert splits_by_slices(ir.from_proto(split(index, size))) == 0


def test_a_file_that_splits_so_is_exported(tmp_path: Path) -> None:
    """As torch's exporters write it, where they write it at all."""
    onnx.save(split(1), tmp_path / "halves.onnx")
    bundle = edgepress.export(tmp_path / "halves.onnx", target="cpu", precision="fp32", measure=False, output=tmp_path)
    x = np.random.default_rng(0).normal(size=(2, 3, 6)).astype(np.float32)
    np.testing.assert_array_equal(run(onnx.load(bundle.path / "model.onnx"), x), x[..., 3:])
