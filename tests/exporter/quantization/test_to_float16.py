"""The float16 form of a graph: operators whose values float16 does not hold stay float32."""

import subprocess
import sys

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from onnx.reference import ReferenceEvaluator

from edgepress.exporter.graphs.files import read_graph
from edgepress.exporter.quantization.analysis.fp16_exceptions import fp16_exceptions, holds_no_product
from edgepress.exporter.quantization.rewrites.to_float16 import to_float16


def written(path, nodes, constants, shape=("n", 16), out=("n", 4)):
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, out)],
        [numpy_helper.from_array(np.asarray(array), name) for name, array in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.save(onnx.shape_inference.infer_shapes(model), path)
    return read_graph(path)


def layer(name, source, result):
    return helper.make_node("Gemm", [source, f"w_{name}"], [result], name=name)


def weights(**shapes):
    rng = np.random.default_rng(0)
    return {f"w_{name}": rng.normal(size=shape).astype(np.float32) / 4 for name, shape in shapes.items()}


def feeds(count=4):
    rng = np.random.default_rng(1)
    return [{"x": rng.normal(size=(3, 16)).astype(np.float32)} for _ in range(count)]


def computed_in_float16(path, feed):
    """Every operator of the graph with its result rounded as its type says: ONNX's reference, not a runtime."""
    with np.errstate(all="ignore"):
        return ReferenceEvaluator(str(path)).run(None, feed)[0]


def overflowing(path):
    """Activations of some 10^6 between two layers, as a difference that is scaled back."""
    nodes = [
        layer("first", "x", "a"),
        helper.make_node("Mul", ["a", "large"], ["b"], name="up"),
        helper.make_node("ReduceMean", ["b"], ["m"], name="mean", axes=[1], keepdims=1),
        helper.make_node("Sub", ["b", "m"], ["c"], name="center"),
        helper.make_node("Mul", ["c", "small"], ["d"], name="down"),
        layer("last", "d", "y"),
    ]
    constants = {"large": np.float32(1e6), "small": np.float32(1e-6), **weights(first=(16, 16), last=(16, 4))}
    return written(path, nodes, constants)


def test_operators_beyond_the_range_stay_float32_with_nothing_cast_between_them(tmp_path):
    graph = overflowing(tmp_path / "float.onnx")
    kept = fp16_exceptions(graph, feeds())
    assert set(kept) == {"up", "mean", "center", "down"}
    assert "float16 ends at 65504" in kept["mean"] and not holds_no_product(graph, kept)
    plain, mixed = tmp_path / "plain.onnx", tmp_path / "mixed.onnx"
    to_float16(graph.path, plain)
    to_float16(graph.path, mixed, kept)
    onnx.checker.check_model(str(mixed), full_check=True)
    feed = feeds(9)[-1]
    expected = computed_in_float16(graph.path, feed)
    assert not np.isfinite(computed_in_float16(plain, feed)).all()
    assert np.abs(computed_in_float16(mixed, feed) - expected).max() < 0.01 * np.abs(expected).max()
    assert [node.op_type for node in onnx.load(mixed).graph.node].count("Cast") == 4


def test_values_below_the_normal_numbers_stay_float32(tmp_path):
    nodes = [
        helper.make_node("Mul", ["x", "small"], ["a"], name="down"),
        helper.make_node("Mul", ["a", "small"], ["b"], name="further"),
        helper.make_node("Div", ["b", "tiny"], ["c"], name="back"),
        layer("last", "c", "y"),
    ]
    constants = {"small": np.float32(1e-4), "tiny": np.float32(1e-8), **weights(last=(16, 4))}
    graph = written(tmp_path / "float.onnx", nodes, constants)
    kept = fp16_exceptions(graph, feeds())
    assert set(kept) == {"further", "back"}
    to_float16(graph.path, tmp_path / "mixed.onnx", kept)
    feed = feeds(9)[-1]
    expected, found = (computed_in_float16(tmp_path / f"{stem}.onnx", feed) for stem in ("float", "mixed"))
    assert np.abs(found - expected).max() < 0.01 * np.abs(expected).max()


@pytest.mark.parametrize("beyond", ["output", "input"])
def test_what_leaves_or_enters_the_model_beyond_the_range_is_never_cast(tmp_path, beyond):
    ends = [helper.make_node("Mul", ["a", "large"], ["y"], name="up")]
    nodes = (
        [layer("first", "x", "a"), *ends]
        if beyond == "output"
        else [
            helper.make_node("Mul", ["x", "small"], ["a"], name="down"),
            layer("first", "a", "y"),
        ]
    )
    constants = {"large": np.float32(1e6), "small": np.float32(1e-3), **weights(first=(16, 4))}
    graph = written(tmp_path / "float.onnx", nodes, constants)
    factor = np.float32(1 if beyond == "output" else 1e6)
    data = [{"x": feed["x"] * factor} for feed in feeds()]
    to_float16(graph.path, tmp_path / "mixed.onnx", fp16_exceptions(graph, data))
    expected, found = (computed_in_float16(tmp_path / f"{stem}.onnx", data[0]) for stem in ("float", "mixed"))
    assert np.isfinite(found).all() and np.abs(found - expected).max() < 0.01 * np.abs(expected).max()


def test_a_mask_before_a_softmax_and_a_tiny_epsilon_are_no_reason(tmp_path):
    nodes = [
        layer("first", "x", "a"),
        helper.make_node("Add", ["a", "mask"], ["b"], name="masked"),
        helper.make_node("Softmax", ["b"], ["p"], name="softmax"),
        helper.make_node("Add", ["p", "epsilon"], ["q"], name="not_zero"),
        layer("last", "q", "y"),
    ]
    mask = np.where(np.arange(16) % 3 == 0, np.finfo(np.float32).min, 0).astype(np.float32)
    constants = {"mask": mask, "epsilon": np.float32(1e-6), **weights(first=(16, 16), last=(16, 4))}
    assert fp16_exceptions(written(tmp_path / "float.onnx", nodes, constants), feeds()) == {}


@pytest.mark.parametrize("behind", ["Log", "Sqrt", "Div"])
@pytest.mark.parametrize("guard", ["Add", "Max", "Clip"])
def test_what_keeps_a_logarithm_root_or_quotient_from_zero_stays_float32(tmp_path, guard, behind):
    """float16 made 6e-8 of 1e-10, so that the logarithm of silence was -16.6 and not -23.0."""
    nodes = [
        helper.make_node("Relu", ["x"], ["a"], name="relu"),
        helper.make_node(guard, ["a", "least"], ["b"], name="guard"),
        helper.make_node(behind, ["a", "b"] if behind == "Div" else ["b"], ["y"], name="behind"),
    ]
    graph = written(tmp_path / "float.onnx", nodes, {"least": np.float32(1e-10)}, out=("n", 16))
    kept = fp16_exceptions(graph, feeds())
    assert set(kept) == {"guard", "behind"} and "1e-10" in kept["guard"]
    to_float16(graph.path, tmp_path / "mixed.onnx", kept)
    silence = {"x": np.zeros((3, 16), np.float32)}
    expected, found = (computed_in_float16(tmp_path / f"{stem}.onnx", silence) for stem in ("float", "mixed"))
    np.testing.assert_allclose(found, expected, rtol=1e-6)


@pytest.mark.parametrize("moving", ["Transpose", "Unsqueeze"])
def test_what_keeps_a_logarithm_from_zero_may_be_moved_before_it(tmp_path, moving):
    """The logarithm of silence was -16.6, as nothing was seen behind a Transpose."""
    nodes = [
        helper.make_node("Relu", ["x"], ["a"], name="relu"),
        helper.make_node("Add", ["a", "least"], ["b"], name="guard"),
        helper.make_node("Unsqueeze", ["b", "first"], ["c"], name="moved")
        if moving == "Unsqueeze"
        else helper.make_node("Transpose", ["b"], ["c"], name="moved", perm=[1, 0]),
        helper.make_node("Log", ["c"], ["y"], name="behind"),
    ]
    constants = {"least": np.float32(1e-10)}
    constants |= {"first": np.zeros(1, np.int64)} if moving == "Unsqueeze" else {}
    out = (1, "n", 16) if moving == "Unsqueeze" else (16, "n")
    graph = written(tmp_path / "float.onnx", nodes, constants, out=out)
    kept = fp16_exceptions(graph, feeds())
    assert set(kept) == {"guard", "moved", "behind"}
    to_float16(graph.path, tmp_path / "mixed.onnx", kept)
    silence = {"x": np.zeros((3, 16), np.float32)}
    expected, found = (computed_in_float16(tmp_path / f"{stem}.onnx", silence) for stem in ("float", "mixed"))
    np.testing.assert_allclose(found, expected, rtol=1e-6)


def test_a_tiny_constant_that_nothing_divides_by_is_no_reason(tmp_path):
    nodes = [helper.make_node("Add", ["x", "least"], ["a"], name="add"), layer("last", "a", "y")]
    graph = written(tmp_path / "float.onnx", nodes, {"least": np.float32(1e-10), **weights(last=(16, 4))})
    assert fp16_exceptions(graph, feeds()) == {}


def test_a_model_whose_every_product_is_beyond_the_range_holds_none(tmp_path):
    graph = written(tmp_path / "float.onnx", [layer("only", "x", "y")], weights(only=(16, 4)))
    kept = fp16_exceptions(graph, [{"x": feed["x"] * np.float32(1e6)} for feed in feeds()])
    assert set(kept) == {"only"} and holds_no_product(graph, kept)


def test_a_value_that_two_operators_without_a_float16_form_read_is_cast_once(tmp_path):
    nodes = [
        layer("first", "x", "a"),
        helper.make_node("CumSum", ["a", "one"], ["b"], name="sum"),
        helper.make_node("CumSum", ["a", "one"], ["c"], name="again", reverse=1),
        helper.make_node("Add", ["b", "c"], ["y"], name="y"),
    ]
    graph = written(tmp_path / "float.onnx", nodes, {"one": np.int64(1), **weights(first=(16, 4))})
    to_float16(graph.path, tmp_path / "half.onnx")
    onnx.checker.check_model(str(tmp_path / "half.onnx"), full_check=True)


def through_double(path, shape=("n", 16)):
    """Two layers with a detour through double precision before what float16 cannot hold."""
    nodes = [
        layer("a", "x", "h"),
        helper.make_node("Cast", ["h"], ["wide"], name="widen", to=TensorProto.DOUBLE),
        helper.make_node("Cast", ["wide"], ["narrow"], name="narrow", to=TensorProto.FLOAT),
        helper.make_node("Mul", ["narrow", "million"], ["large"], name="up"),
        helper.make_node("Div", ["large", "million"], ["small"], name="down"),
        layer("b", "small", "y"),
    ]
    return written(path, nodes, {**weights(a=(16, 8), b=(8, 4)), "million": np.float32(1e6)}, shape)


def test_a_value_of_double_precision_that_is_kept_from_float16_is_cast_to_float32(tmp_path):
    import onnxruntime as ort

    graph = through_double(tmp_path / "model.onnx")
    kept = fp16_exceptions(graph, feeds())
    assert {"up", "down"} <= kept.keys()
    to_float16(graph.path, tmp_path / "half.onnx", kept)
    onnx.checker.check_model(tmp_path / "half.onnx", full_check=True)
    answers = [ort.InferenceSession(path).run(None, feeds(1)[0])[0] for path in (graph.path, tmp_path / "half.onnx")]
    np.testing.assert_allclose(answers[1], answers[0], atol=0.01)


OPENED = "import sys, onnxruntime; onnxruntime.InferenceSession(sys.argv[1], providers=['CPUExecutionProvider'])"


@pytest.mark.parametrize("perm", [(1, 0, 2), (1, 2, 0), (1, 2, 0, 3)])
@pytest.mark.parametrize("first", [True, False])
def test_a_plain_onnxruntime_opens_a_product_behind_a_transpose(tmp_path, perm, first):
    """1.31.1 on x86 ends with a signal, with all optimizations, which are its default."""
    shape = (16, 5, 3, 4)[: len(perm)]
    sizes = [shape[axis] for axis in perm]
    nodes = [
        helper.make_node("Transpose", ["x"], ["t"], perm=perm),
        helper.make_node("MatMul", ["t", "w"] if first else ["w", "t"], ["a"], name="one"),
        helper.make_node("MatMul", ["t", "w"] if first else ["w", "t"], ["b"], name="two"),
        helper.make_node("Mul", ["a", "b"], ["y"]),
    ]
    weight = np.random.default_rng(0).normal(size=(sizes[-1], 4) if first else (4, sizes[-2])).astype(np.float32)
    out = (*sizes[:-1], 4) if first else (*sizes[:-2], 4, sizes[-1])
    written(tmp_path / "model.onnx", nodes, {"w": weight}, shape, out)
    to_float16(tmp_path / "model.onnx", tmp_path / "half.onnx")
    done = subprocess.run([sys.executable, "-c", OPENED, tmp_path / "half.onnx"], capture_output=True, check=False)
    assert done.returncode == 0, done.stderr
    feed = {"x": np.random.default_rng(1).normal(size=shape).astype(np.float32)}
    right = ReferenceEvaluator(str(tmp_path / "model.onnx")).run(None, feed)[0]
    np.testing.assert_allclose(computed_in_float16(tmp_path / "half.onnx", feed), right, rtol=1e-2, atol=1e-2)
