"""Bytes by layer, against what onnx_ir counts."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper, save

from edgepress.backends._onnxsizes import weight_sizes
from edgepress.backends.base import Graph
from edgepress.errors import InputError
from edgepress.exporter.graphs.files import weight_bytes


def test_every_weight_of_a_captured_graph_belongs_to_a_layer(residual_graph: Graph) -> None:
    found = weight_sizes(residual_graph.path)
    assert found.total == weight_bytes(residual_graph.path)
    assert sum(found.layers.values()) == pytest.approx(found.total, abs=64)  # sizes of a Reshape may feed nothing else
    assert list(found.layers.values()) == sorted(found.layers.values(), reverse=True)


def quantized(path: Path, external: bool = False) -> Path:
    """A quantized weight behind a DequantizeLinear, a shared one, a nameless node, and a Constant."""
    tensors = {
        "q": np.ones((8, 4), np.int8),
        "scale": np.ones((), np.float32),
        "zero": np.zeros((), np.int8),
        "shared": np.ones((4,), np.float32),
        "half": np.ones((4, 4), np.float16),
    }
    constant = numpy_helper.from_array(np.ones((4,), np.float64), "c")
    nodes = [
        helper.make_node("DequantizeLinear", ["q", "scale", "zero"], ["w"], name="dq"),
        helper.make_node("Gemm", ["x", "w"], ["y"], name="gemm", transB=1),
        helper.make_node("Add", ["x", "shared"], ["a"], name="first"),
        helper.make_node("Mul", ["a", "shared"], ["b"], name="second"),
        helper.make_node("Constant", [], ["k"], value=constant),
        helper.make_node("Cast", ["k"], ["kf"], to=TensorProto.FLOAT),
        helper.make_node("Sub", ["b", "kf"], ["z"]),
    ]
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 4])],
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in ("y", "z")],
        [numpy_helper.from_array(array, name) for name, array in tensors.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])
    save(model, path, save_as_external_data=external, location="w.data", size_threshold=0)
    return path


@pytest.mark.parametrize("external", [False, True])
def test_weights_behind_constant_nodes_belong_to_the_layer_they_feed(tmp_path: Path, external: bool) -> None:
    found = weight_sizes(quantized(tmp_path / "q.onnx", external))
    assert found.layers == {"gemm": 32 + 4 + 1, "Sub -> z": 32, "first": 16}
    assert found.total == 37 + 16 + 32 + 32  # and `half`, which feeds nothing


def test_a_file_that_is_no_model_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "noise.onnx"
    path.write_bytes(np.random.default_rng(0).bytes(1000))
    with pytest.raises(InputError, match=r"noise\.onnx"):
        weight_sizes(path)
