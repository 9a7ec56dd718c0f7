"""Sequences in a graph, as the Loop of an EmbeddingBag makes them: of the type of their elements, and no tensors."""

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from edgepress.exporter.graphs.files import read_graph
from edgepress.exporter.quantization.analysis.fp16_exceptions import fp16_exceptions


def test_what_sequences_hold_is_not_asked_of_them(tmp_path):
    nodes = [
        helper.make_node("MatMul", ["x", "w"], ["a"], name="first"),
        helper.make_node("SequenceConstruct", ["a", "x"], ["s"], name="both"),
        helper.make_node("ConcatFromSequence", ["s"], ["c"], name="joined", axis=1),
        helper.make_node("Mul", ["c", "million"], ["y"], name="large"),
    ]
    ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["n", size]) for name, size in (("x", 4), ("y", 8))]
    arrays = {"w": np.eye(4, dtype=np.float32), "million": np.float32(1e6)}
    held = [numpy_helper.from_array(np.asarray(array), name) for name, array in arrays.items()]
    model = helper.make_model(
        helper.make_graph(nodes, "net", ends[:1], ends[1:], held),
        opset_imports=[helper.make_opsetid("", 17)],
        ir_version=8,
    )
    onnx.save(onnx.shape_inference.infer_shapes(model), tmp_path / "m.onnx")
    kept = fp16_exceptions(read_graph(tmp_path / "m.onnx"), [{"x": np.ones((2, 4), np.float32)}])
    assert list(kept) == ["large"]
