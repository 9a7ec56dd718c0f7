"""A table of words that embeds and predicts is stored once, and both ways of reading it still work."""

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from ._int8 import SCHEMES, array, decibel, floats, model_of, run, to_int8, weight

WORDS, WIDTH = 4000, 16
stored_in_integers = pytest.mark.parametrize("name", [n for n, s in SCHEMES.items() if s.weight_storage == "integer"])


def tied(head, last="table"):
    """Words are embedded, changed a little, and predicted by a product of that form with the same table."""
    nodes = [
        helper.make_node("Gather", ["table", "x"], ["e"], name="embed"),
        helper.make_node("Relu", ["e"], ["r"], name="relu"),
    ]
    if head == "gemm":
        nodes.append(helper.make_node("Gemm", ["r", last], ["y"], name="head", transB=1))
    else:
        nodes.append(helper.make_node("Transpose", [last], ["t"], name="t", perm=[1, 0]))
        nodes.append(helper.make_node("MatMul" if head == "matmul" else "Gemm", ["r", "t"], ["y"], name="head"))
    rank = [2, 3] if head == "matmul" else [6]
    ids = helper.make_tensor_value_info("x", TensorProto.INT64, rank)
    tables = [weight(table, WORDS, WIDTH) for table in sorted({"table", last})]
    return model_of(nodes, [ids], [floats("y", *rank, WORDS)], tables), rank


def ids(rank, count, seed):
    rng = np.random.default_rng(seed)
    return [rng.integers(0, WORDS, rank) for _ in range(count)]


def large(model):
    return [t for t in model.graph.initializer if np.prod(t.dims) >= WORDS * WIDTH]


@stored_in_integers
@pytest.mark.parametrize("head", ["matmul", "gemm", "gemm of a transpose"])
def test_a_tied_table_is_stored_once_in_integers(name, head, tmp_path, caplog):
    model, rank = tied(head)
    int8, placement, source, path = to_int8(model, name, ids(rank, 30, seed=1), tmp_path)
    assert len(placement.weights) == 1
    assert not caplog.messages  # a shape without a type is warned of where it is written
    (table,) = large(int8)
    assert table.data_type == TensorProto.INT8 and list(table.dims) == [WORDS, WIDTH]
    for batch in ids(rank, 3, seed=2):
        assert decibel(run(source, batch), run(path, batch)) > 30


@stored_in_integers
def test_runtimes_multiply_integers_all_the_same(name, tmp_path):
    model, rank = tied("matmul")
    _, _, source, path = to_int8(model, name, ids(rank, 30, seed=1), tmp_path)
    (batch,) = ids(rank, 1, seed=2)
    if name == "cpu":
        openvino = pytest.importorskip("openvino")
        engine = openvino.Core().compile_model(path, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
        kinds = [
            str(node.get_rt_info()["primitiveType"].value)
            for node in engine.get_runtime_model().get_ops()
            if node.get_rt_info()["layerType"].value == "FullyConnected"
        ]
        assert len(kinds) == 1 and "I8" in kinds[0].upper()
        assert decibel(run(source, batch), engine({"x": batch})[0]) > 30
    else:
        import onnxruntime as ort

        options = ort.SessionOptions()
        options.optimized_model_filepath = str(tmp_path / "optimized.onnx")
        options.log_severity_level = 3
        ort.InferenceSession(path, options)
        operators = [node.op_type for node in onnx.load(options.optimized_model_filepath).graph.node]
        assert "MatMul" not in operators and any("Integer" in operator for operator in operators)


@stored_in_integers
def test_a_table_that_is_no_weight_stays_float(name, tmp_path):
    model, rank = tied("gemm", last="other")
    int8, *_ = to_int8(model, name, ids(rank, 30, seed=1), tmp_path)
    assert sorted(t.data_type for t in large(int8)) == [TensorProto.FLOAT, TensorProto.INT8]


@stored_in_integers
def test_a_table_that_is_read_elsewhere_too_stays_float(name, tmp_path):
    model, rank = tied("gemm")
    model.graph.node.append(helper.make_node("ReduceSum", ["table", "axes"], ["sum"], name="sum"))
    model.graph.output.append(floats("sum", 1, WIDTH))
    model.graph.initializer.append(array("axes", np.array([0])))
    int8, *_ = to_int8(model, name, ids(rank, 30, seed=1), tmp_path)
    assert TensorProto.FLOAT in {t.data_type for t in large(int8)}
