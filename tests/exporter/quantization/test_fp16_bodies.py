"""Bodies of If, Loop and Scan in a float16 graph: float32 whole, with the casts around them."""

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from onnx import TensorProto, helper, numpy_helper

from edgepress.exporter.graphs.files import read_graph
from edgepress.exporter.quantization.analysis.fp16_exceptions import fp16_exceptions
from edgepress.exporter.quantization.rewrites.to_float16 import to_float16

F = np.float32


def node(operator, inputs, outputs, **attributes):
    return helper.make_node(operator, inputs.split(), outputs.split(), name=outputs.split()[0], **attributes)


def value(name, *shape, kind=TensorProto.FLOAT):
    return helper.make_tensor_value_info(name, kind, shape)


def constants(arrays):
    return [numpy_helper.from_array(np.asarray(array), name) for name, array in arrays.items()]


def weight(seed):
    return np.random.default_rng(seed).normal(size=(16, 16)).astype(F) / 4


def body(nodes, inputs, outputs, arrays):
    return helper.make_graph(nodes, "body", inputs, outputs, constants(arrays))


def branches():
    """One branch scales by a million and back, or takes the logarithm of silence; the other is seen by the samples."""
    large = body(
        [
            node("Relu", "h", "quiet"),
            node("Add", "quiet least", "guarded"),
            node("Log", "guarded", "a"),
            node("Mul", "h million", "b"),
            node("Div", "b million", "c"),
            node("Add", "a c", "t"),
        ],
        [],
        [value("t", "n", 16)],
        {"million": F(1e6), "least": F(1e-10)},
    )
    other = body([node("Max", "h x", "e")], [], [value("e", "n", 16)], {})
    return [
        node("MatMul", "x w", "h"),
        node("ReduceMean", "x", "mean", keepdims=0),
        node("Greater", "mean zero", "condition"),
        node("If", "condition", "q", then_branch=large, else_branch=other),
        node("MatMul", "q v", "y"),
    ], {"zero": F(0)}


def loop():
    """A recurrence that reads a value and a weight of the graph around it; operators without a float16 form inside."""
    inner = body(
        [
            node("Identity", "going", "goes"),
            node("MatMul", "state w", "a"),
            node("CumSum", "a axis", "b"),
            node("Max", "b h", "c"),
            node("Tanh", "c", "next"),
            node("Identity", "next", "each"),
        ],
        [value("i", kind=TensorProto.INT64), value("going", kind=TensorProto.BOOL), value("state", "n", 16)],
        [value("goes", kind=TensorProto.BOOL), value("next", "n", 16), value("each", "n", 16)],
        {"axis": np.int64(1)},
    )
    return [
        node("MatMul", "x w", "h"),
        node("Loop", "times yes h", "last every", body=inner),
        node("ReduceMean", "every first", "mean", keepdims=0),
        node("Add", "last mean", "q"),
        node("MatMul", "q v", "y"),
    ], {"times": np.int64(3), "yes": np.bool_(True), "first": np.array([0])}


def nested():
    """A branch inside of a loop."""
    double = body([node("Mul", "state two", "t")], [], [value("t", "n", 16)], {"two": F(2)})
    add = body([node("Add", "state h", "e")], [], [value("e", "n", 16)], {})
    nodes, arrays = loop()
    inner = next(one.attribute[0].g for one in nodes if one.op_type == "Loop")
    del inner.node[1:]
    inner.node.extend(
        [
            node("Equal", "i none", "condition"),
            node("If", "condition", "next", then_branch=double, else_branch=add),
            node("Identity", "next", "each"),
        ]
    )
    return nodes, {**arrays, "none": np.int64(0)}


def scan():
    """A recurrence over the rows of what a layer gives."""
    inner = body(
        [node("MatMul", "state own", "a"), node("Add", "a row", "next"), node("Tanh", "next", "each")],
        [value("state", 16), value("row", 16)],
        [value("next", 16), value("each", 16)],
        {"own": weight(3)},
    )
    return [
        node("MatMul", "x w", "h"),
        node("Scan", "start h", "last each_row", body=inner, num_scan_inputs=1),
        node("MatMul", "each_row v", "y"),
    ], {"start": np.zeros(16, F)}


BODIES = {"If": branches, "Loop": loop, "nested Loop": nested, "Scan": scan}


@pytest.mark.parametrize("kind", BODIES)
def test_a_body_is_computed_in_float32_and_what_is_around_it_in_float16(kind, tmp_path):
    """A branch that no sample took gave -inf; a CumSum in a loop made a file that no runtime opens."""
    nodes, arrays = BODIES[kind]()
    graph = helper.make_graph(
        nodes, "g", [value("x", "n", 16)], [value("y", "n", 16)], constants({"w": weight(1), "v": weight(2), **arrays})
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8)
    onnx.save(onnx.shape_inference.infer_shapes(model), tmp_path / "float.onnx")
    source = read_graph(tmp_path / "float.onnx")
    rng = np.random.default_rng(5)
    kept = fp16_exceptions(source, [{"x": rng.normal(size=(4, 16)).astype(F) - 1}])
    operator = kind.split()[-1]
    assert any(why == f"a body of {operator} is computed in float32" for why in kept.values())
    half = tmp_path / "half.onnx"
    to_float16(source.path, half, kept)
    onnx.checker.check_model(half, full_check=True)
    read_graph(half)
    assert types(half, operator) == {TensorProto.FLOAT} and TensorProto.FLOAT16 in types(half, "MatMul")
    for offset in (-1, 1):
        feed = {"x": rng.normal(size=(4, 16)).astype(F) + offset}
        expected, found = (answer(path, feed) for path in (source.path, half))
        assert np.abs(found - expected).max() < 0.004 * np.abs(expected).max()


def types(path, operator):
    """Of what these operators give."""
    model = onnx.shape_inference.infer_shapes(onnx.load(path), strict_mode=True)
    given = {name for one in model.graph.node if one.op_type == operator for name in one.output}
    return {one.type.tensor_type.elem_type for one in model.graph.value_info if one.name in given}


def answer(path, feed):
    options = ort.SessionOptions()
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    return ort.InferenceSession(path, options, providers=["CPUExecutionProvider"]).run(None, feed)[0]
