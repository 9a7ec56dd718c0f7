"""Files of other converters: what they spell out is written as runtimes have kernels for it, and computes the same."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np
import onnx
import onnx_ir as ir
import onnxruntime as ort
import pytest
from onnx import TensorProto, helper, numpy_helper

from edgepress.exporter.capture.onnx_to_opset import converted
from edgepress.exporter.capture.rewrites.affine_to_conv import affine_to_conv
from edgepress.exporter.capture.rewrites.hard_swish import hard_swish
from edgepress.exporter.capture.rewrites.mean_to_pool import mean_to_pool
from edgepress.exporter.capture.rewrites.plain_gemm import plain_gemm, products_to_gemm

SHAPE = (2, 4, 9, 7)
NUMBERS = {"three": 3.0, "six": 6.0, "zero": 0.0, "sixth": 1 / 6, "two": 2.0, "k": 1.7, "c": -0.4}
node = helper.make_node


def weights(**shapes: tuple[int, ...]) -> list[onnx.TensorProto]:
    rng = np.random.default_rng(0)
    return [numpy_helper.from_array(rng.normal(size=s).astype(np.float32), name) for name, s in shapes.items()]


def model(
    nodes: Sequence[onnx.NodeProto],
    *,
    opset: int = 17,
    shape: Sequence[int] = SHAPE,
    more: Sequence[onnx.TensorProto] = (),
    outputs: Sequence[str] = ("y",),
) -> ir.Model:
    scalars = [numpy_helper.from_array(np.float32(value), name) for name, value in NUMBERS.items()]
    ones = [numpy_helper.from_array(np.asarray([value], np.float32), f"{n}1") for n, value in NUMBERS.items()]
    read = {name for each in nodes for name in each.input}
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in outputs],
        [each for each in (*scalars, *ones, *more) if each.name in read],
    )
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)
    return ir.from_proto(onnx.shape_inference.infer_shapes(made))


def run(model: ir.Model, x: np.ndarray[Any, Any]) -> list[np.ndarray[Any, Any]]:
    proto = ir.to_proto(model)
    onnx.checker.check_model(proto, full_check=True)
    options = ort.SessionOptions()
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    found: list[np.ndarray[Any, Any]] = ort.InferenceSession(proto.SerializeToString(), options).run(None, {"x": x})
    return found


def assert_same(before: ir.Model, after: ir.Model, shape: Sequence[int] = SHAPE) -> None:
    x = np.random.default_rng(1).normal(size=shape).astype(np.float32) * 4
    for one, two in zip(run(before, x), run(after, x), strict=True):
        np.testing.assert_allclose(two, one, rtol=0, atol=2e-6 * np.abs(one).max())


def operators(model: ir.Model) -> Counter[str]:
    return Counter(each.op_type for each in model.graph)


SPELLINGS = {
    "divided": [
        node("Add", ["x", "three"], ["a"]),
        node("Clip", ["a", "zero", "six"], ["b"]),
        node("Mul", ["x", "b"], ["p"]),
        node("Div", ["p", "six1"], ["y"]),
    ],
    "gate divided": [
        node("Add", ["three1", "x"], ["a"]),
        node("Clip", ["a", "zero", "six"], ["b"]),
        node("Div", ["b", "six"], ["g"]),
        node("Mul", ["x", "g"], ["y"]),
    ],
    "gate times a sixth": [
        node("Add", ["x", "three"], ["a"]),
        node("Clip", ["a", "zero", "six"], ["b"]),
        node("Mul", ["sixth", "b"], ["g"]),
        node("Mul", ["g", "x"], ["y"]),
    ],
    "hard sigmoid": [node("HardSigmoid", ["x"], ["g"], alpha=1 / 6, beta=0.5), node("Mul", ["x", "g"], ["y"])],
}
OTHERS = {
    "another bound": [
        node("Add", ["x", "three"], ["a"]),
        node("Clip", ["a", "zero", "three"], ["b"]),
        node("Mul", ["x", "b"], ["p"]),
        node("Div", ["p", "six"], ["y"]),
    ],
    "another slope": [node("HardSigmoid", ["x"], ["g"]), node("Mul", ["x", "g"], ["y"])],
    "of another value": [
        node("Mul", ["x", "k"], ["s"]),
        node("HardSigmoid", ["s"], ["g"], alpha=1 / 6, beta=0.5),
        node("Mul", ["x", "g"], ["y"]),
    ],
}


@pytest.mark.parametrize("spelling", SPELLINGS)
def test_a_hard_swish_that_is_spelled_out_becomes_one(spelling: str) -> None:
    before, after = model(SPELLINGS[spelling]), model(SPELLINGS[spelling])
    assert hard_swish(after) == 1 and operators(after) == {"HardSwish": 1}
    assert not set(after.graph.initializers) - {value.name for each in after.graph for value in each.inputs if value}
    assert_same(before, after)


@pytest.mark.parametrize("other", OTHERS)
def test_what_only_looks_like_a_hard_swish_stays(other: str) -> None:
    assert hard_swish(model(OTHERS[other])) == 0


def test_a_gate_that_is_read_elsewhere_stays() -> None:
    nodes = [*SPELLINGS["hard sigmoid"], node("Relu", ["g"], ["z"])]
    assert hard_swish(model(nodes, outputs=("y", "z"))) == 0


@pytest.mark.parametrize(("limit", "opset"), [(20, 14), (13, 13)])
def test_a_file_below_opset_14_is_brought_there_for_it_where_the_target_reads_that(
    tmp_path: Any, limit: int, opset: int
) -> None:
    ir.save(model(SPELLINGS["divided"], opset=12), tmp_path / "m.onnx")
    found = converted(tmp_path / "m.onnx", limit)
    assert found.opset_imports[""] == opset and hard_swish(found) == (opset == 14)
    assert_same(model(SPELLINGS["divided"], opset=12), found)


def test_a_file_that_cannot_be_brought_to_opset_14_keeps_its_spelling(
    tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A converter that fails leaves the opset as it was, and only logs."""
    from onnxscript import version_converter

    monkeypatch.setattr(version_converter, "convert_version", lambda model, **_: None)
    ir.save(model(SPELLINGS["divided"], opset=13), tmp_path / "m.onnx")
    found = converted(tmp_path / "m.onnx", 20)
    assert found.opset_imports[""] == 13 and hard_swish(found) == 0
    assert_same(model(SPELLINGS["divided"], opset=13), found)


def convolution(x: str, y: str, **attributes: Any) -> list[onnx.NodeProto]:
    return [node("Conv", [x, "w", "b"], [y], **attributes)]


CONSTANTS = weights(w=(8, 4, 3, 3), b=(8,), d=(4, 1, 3, 3), row=(1, 8, 1, 1), channels=(8, 1, 1), last=(7,))


def test_constants_behind_a_convolution_go_into_it() -> None:
    nodes = [
        *convolution("x", "a", pads=[1] * 4),
        node("Mul", ["k1", "a"], ["p"]),
        node("Add", ["p", "row"], ["q"]),
        node("Div", ["q", "channels"], ["r"]),
        node("Sub", ["r", "c"], ["y"]),
    ]
    before, after = (model(nodes, more=CONSTANTS) for _ in range(2))
    assert affine_to_conv(after) == 4 and operators(after) == {"Conv": 1}
    assert_same(before, after)


def test_a_convolution_without_a_bias_gets_one_where_it_needs_it() -> None:
    nodes = [node("Conv", ["x", "d"], ["a"], group=4), node("Mul", ["a", "k"], ["q"]), node("Add", ["q", "c"], ["y"])]
    before, after = (model(nodes, more=CONSTANTS) for _ in range(2))
    assert affine_to_conv(after) == 2 and len(after.graph[0].inputs) == 3
    assert_same(before, after)
    scaled = model([*nodes[:1], node("Mul", ["a", "k"], ["y"])], more=CONSTANTS)
    assert affine_to_conv(scaled) == 1 and len(scaled.graph[0].inputs) == 2


@pytest.mark.parametrize(("pads", "left"), [([0] * 4, {}), ([1] * 4, {"Add": 1})])
def test_a_scale_and_a_shift_before_a_convolution(pads: list[int], left: dict[str, int]) -> None:
    """Where it pads, a shift stays: the zeros at the border are not shifted. The scale goes in behind it."""
    nodes = [
        node("Relu", ["x"], ["r"]),
        node("Mul", ["r", "k"], ["p"]),
        node("Add", ["p", "c1"], ["q"]),
        *convolution("q", "y", pads=pads),
    ]
    before, after = (model(nodes, more=CONSTANTS) for _ in range(2))
    assert affine_to_conv(after) == (1 if left else 2)
    assert operators(after) == {"Relu": 1, "Conv": 1, **left}
    assert_same(before, after)


def test_depthwise_shifts_reach_their_own_channel() -> None:
    nodes = [node("Add", ["x", "shift"], ["a"]), node("Conv", ["a", "d"], ["y"], group=4)]
    more = [*CONSTANTS, *weights(shift=(4, 1, 1))]
    before, after = (model(nodes, more=more) for _ in range(2))
    assert affine_to_conv(after) == 1 and operators(after) == {"Conv": 1}
    assert_same(before, after)


def test_what_is_not_of_one_convolution_alone_stays() -> None:
    read_twice = [*convolution("x", "a"), node("Mul", ["a", "k"], ["y"]), node("Relu", ["a"], ["z"])]
    assert affine_to_conv(model(read_twice, more=CONSTANTS, outputs=("y", "z"))) == 0
    along_another_axis = [*convolution("x", "a", pads=[1] * 4), node("Mul", ["a", "last"], ["y"])]
    assert affine_to_conv(model(along_another_axis, more=CONSTANTS)) == 0
    by_channel = [node("Mul", ["x", "four"], ["a"]), *convolution("a", "y")]
    assert affine_to_conv(model(by_channel, more=[*CONSTANTS, *weights(four=(4, 1, 1))])) == 0
    shared = [*convolution("x", "a"), node("Mul", ["a", "k"], ["y"]), *convolution("x", "z")]
    assert affine_to_conv(model(shared, more=CONSTANTS, outputs=("y", "z"))) == 0


def test_constants_that_make_three_channels_of_a_grey_picture_stay() -> None:
    nodes = [node("Sub", ["x", "mean"], ["a"]), node("Div", ["a", "std"], ["b"]), node("Conv", ["b", "w"], ["y"])]
    alike = [numpy_helper.from_array(np.full((1, 3, 1, 1), 0.5, np.float32), name) for name in ("mean", "std")]
    found = model(nodes, shape=(2, 1, 9, 7), more=[*alike, *weights(w=(4, 3, 3, 3))])
    x = np.random.default_rng(1).normal(size=(2, 1, 9, 7)).astype(np.float32)
    before = run(found, x)
    affine_to_conv(found)
    np.testing.assert_allclose(run(found, x)[0], before[0], rtol=1e-5, atol=1e-5)


def test_a_product_of_integers_stays_as_no_runtime_has_a_gemm_of_them() -> None:
    more = [numpy_helper.from_array(np.ones(shape, np.int64), name) for name, shape in {"w": (4, 5), "b": (5,)}.items()]
    nodes = [
        node("Cast", ["x"], ["i"], to=TensorProto.INT64),
        node("MatMul", ["i", "w"], ["p"]),
        node("Add", ["p", "b"], ["s"]),
        node("Cast", ["s"], ["y"], to=TensorProto.FLOAT),
    ]
    assert products_to_gemm(model(nodes, shape=(3, 4), more=more)) == 0


def test_one_hard_swish_may_read_another() -> None:
    spelled = [
        each
        for x, y in (("x", "m"), ("m", "y"))
        for each in (
            node("HardSigmoid", [x], [f"{y}_gate"], alpha=1 / 6, beta=0.5),
            node("Mul", [x, f"{y}_gate"], [y]),
        )
    ]
    found = model(spelled)
    x = np.random.default_rng(1).normal(size=SHAPE).astype(np.float32)
    before = run(found, x)
    assert hard_swish(found) == 2
    np.testing.assert_allclose(run(found, x)[0], before[0], rtol=1e-5, atol=1e-6)


def test_what_a_body_of_if_reads_is_not_taken_for_arithmetic_behind() -> None:
    body = helper.make_graph(
        [node("Mul", ["c", "k"], ["inner"])],
        "body",
        [],
        [helper.make_tensor_value_info("inner", TensorProto.FLOAT, None)],
    )
    flag = numpy_helper.from_array(np.array(True), "flag")
    nodes = [node("Conv", ["x", "w"], ["c"]), node("If", ["flag"], ["y"], then_branch=body, else_branch=body)]
    scale = numpy_helper.from_array(np.float32(1.7), "k")
    found = model(nodes, more=[flag, scale, *weights(w=(4, 4, 3, 3))])
    assert affine_to_conv(found) == 0


def test_a_product_and_its_bias_over_a_matrix_become_a_gemm() -> None:
    nodes = [node("MatMul", ["x", "m"], ["a"]), node("Add", ["bias", "a"], ["y"])]
    more = weights(m=(5, 6), bias=(6,))
    before, after = (model(nodes, more=more, shape=(3, 5)) for _ in range(2))
    assert products_to_gemm(after) == 1 and operators(after) == {"Gemm": 1}
    assert_same(before, after, (3, 5))
    assert products_to_gemm(model(nodes, more=more, shape=(2, 3, 5))) == 0


@pytest.mark.parametrize("shape", [(), (1,), (1, 1), (1, 6), (6,)])
@pytest.mark.parametrize("across", [0, 1])
def test_a_bias_of_a_gemm_becomes_a_number_a_column(shape: tuple[int, ...], across: int) -> None:
    nodes = [node("Gemm", ["x", "m", "bias"], ["y"], transB=across)]
    more = weights(m=(6, 5) if across else (5, 6), bias=shape)
    before, after = (model(nodes, more=more, shape=(3, 5)) for _ in range(2))
    assert plain_gemm(after) == (shape != (6,))
    held = after.graph.node(0).inputs[2]
    assert held is not None and held.const_value is not None and held.const_value.shape == (6,)
    assert_same(before, after, (3, 5))


def test_a_bias_a_row_stays() -> None:
    more = weights(m=(5, 1), bias=(3, 1))
    assert plain_gemm(model([node("Gemm", ["x", "m", "bias"], ["y"])], more=more, shape=(3, 5))) == 0


def test_the_means_of_a_norm_stay_and_become_one_operator_of_onnxruntime(tmp_path: Any) -> None:
    """Over tokens of rank 3 they look like means over an image with one spatial axis."""
    axes = [-1]
    nodes = [
        node("ReduceMean", ["x"], ["mean"], axes=axes),
        node("Sub", ["x", "mean"], ["d"]),
        node("Pow", ["d", "two"], ["s"]),
        node("ReduceMean", ["s"], ["variance"], axes=axes),
        node("Add", ["variance", "k"], ["e"]),
        node("Sqrt", ["e"], ["root"]),
        node("Div", ["d", "root"], ["n"]),
        node("Mul", ["n", "scale"], ["t"]),
        node("Add", ["t", "shift"], ["y"]),
    ]
    found = model(nodes, more=weights(scale=(8,), shift=(8,)), shape=(2, 5, 8))
    assert mean_to_pool(found) == 0
    options = ort.SessionOptions()
    options.optimized_model_filepath = str(tmp_path / "fused.onnx")
    ort.InferenceSession(ir.to_proto(found).SerializeToString(), options)
    assert [each.op_type for each in onnx.load(tmp_path / "fused.onnx").graph.node] == ["LayerNormalization"]
    pooled = model([node("ReduceMean", ["x"], ["y"], axes=axes)], shape=(2, 5, 8))
    assert mean_to_pool(pooled) == 1
