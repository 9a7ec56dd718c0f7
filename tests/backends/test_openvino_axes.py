"""What OpenVINO computes wrongly in another order or number of axes, and is right in what is compiled."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper
from onnx.reference import ReferenceEvaluator

from edgepress.backends.openvino import OpenVino

from ._residual import (
    fresh,
    save,
    target,
)

openvino = pytest.importorskip("openvino")


@pytest.mark.parametrize("behind", ["nothing", "a pad", "a concat"])
@pytest.mark.parametrize("axes", [3, 4])
def test_what_reads_a_branch_in_another_order_of_axes_is_right_at_once(tmp_path: Path, axes: int, behind: str) -> None:
    """OpenVINO 2026.4.1 hands on memory that nobody wrote, in the first inference of each size."""
    wide = [4] * (axes - 2)
    shape, node = ["n", 4, *wide], helper.make_node
    arms = [
        helper.make_graph(
            [node(kind, ["image"], [kind])], kind, [], [helper.make_tensor_value_info(kind, TensorProto.FLOAT, shape)]
        )
        for kind in ("Relu", "Tanh")
    ]
    nodes = [
        node("ReduceMean", ["image"], ["mean"], keepdims=0),
        node("Greater", ["mean", "zero"], ["is"]),
        node("If", ["is"], ["chosen"], "if", then_branch=arms[0], else_branch=arms[1]),
    ]
    if behind == "a pad":
        nodes.append(node("Pad", ["chosen", "pads"], ["read"], mode="reflect"))
    elif behind == "a concat":
        nodes.append(node("Concat", ["chosen", "chosen"], ["read"], axis=1))
    channels = 8 if behind == "a concat" else 4
    read = "chosen" if behind == "nothing" else "read"
    nodes.append(node("Conv", [read, "w"], ["logits"], "conv", pads=[1] * (2 * len(wide))))
    weights = np.random.default_rng(0).normal(size=(16, channels, *[3 for _ in wide])).astype(np.float32)
    pads = [0, 0, *[1 for _ in wide]] * 2
    held = [numpy_helper.from_array(weights, "w"), numpy_helper.from_array(np.float32(0), "zero")]
    held.append(numpy_helper.from_array(np.array(pads), "pads"))
    graph = save(tmp_path / "net.onnx", nodes, held, tuple(shape), ("n", 16, *[f"a{i}" for i in range(axes - 2)]))
    engine = OpenVino().compile(graph, target(), fresh(tmp_path / "engine"), "fp32")
    opened = openvino.Core().compile_model(engine.path, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    reference = ReferenceEvaluator(str(graph.path))
    for samples in (3, 5, 3):
        feed = {"image": np.random.default_rng(samples).normal(size=(samples, 4, *wide)).astype(np.float32)}
        np.testing.assert_allclose(opened(feed)["logits"], reference.run(None, feed)[0], atol=1e-4)


@pytest.mark.parametrize("operator", ["ReduceMean", "ReduceSum", "GlobalAveragePool"])
@pytest.mark.parametrize("keep", [0, 1])
@pytest.mark.parametrize("axes", [[1], [2], [1, 2], [-1]])
def test_a_mean_of_three_axes_in_integers_is_right_for_any_number_of_samples(
    tmp_path: Path, operator: str, keep: int, axes: list[int]
) -> None:
    """OpenVINO 2026.4.1 reads scales beyond their end where there are more samples than the second axis is long."""
    if operator == "GlobalAveragePool" and (axes != [2] or not keep):
        pytest.skip("it is over the last axis, and keeps it")
    node = helper.make_node
    quantized = [node("QuantizeLinear", ["image", "s", "z"], ["q"]), node("DequantizeLinear", ["q", "s", "z"], ["d"])]
    held = [
        numpy_helper.from_array(np.float32(0.02), "s"),
        numpy_helper.from_array(np.uint8(128), "z"),
        numpy_helper.from_array(np.array(axes), "axes"),
    ]
    if operator == "ReduceSum":
        last = node(operator, ["d", "axes"], ["logits"], "last", keepdims=keep)
    elif operator == "ReduceMean":
        last = node(operator, ["d"], ["logits"], "last", keepdims=keep, axes=axes)
    else:
        last = node(operator, ["d"], ["logits"], "last")
    rank = 3 if keep else 3 - len(axes)
    graph = save(tmp_path / "net.onnx", [*quantized, last], held, ("n", 4, 6), tuple(f"a{i}" for i in range(rank)))
    engine = OpenVino().compile(graph, target(), fresh(tmp_path / "engine"), "int8")
    opened = openvino.Core().compile_model(engine.path, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    reduce = np.sum if operator == "ReduceSum" else np.mean
    for samples in (1, 5, 40):
        x = np.random.default_rng(samples).normal(size=(samples, 4, 6)).astype(np.float32)
        rounded = (np.clip(np.rint(x / np.float32(0.02)) + 128, 0, 255) - 128) * np.float32(0.02)
        right = reduce(rounded, axis=tuple(axes), keepdims=bool(keep))
        np.testing.assert_allclose(opened({"image": x})["logits"], right, atol=1e-3)


@pytest.mark.parametrize("behind", ["Mul", "Relu, Add", "BatchNormalization", "Sigmoid, Div"])
@pytest.mark.parametrize("keep", [0, 1])
@pytest.mark.parametrize(
    "operator", ["ReduceMean", "ReduceSum", "ReduceMax", "ReduceL2", "ReduceSumSquare", "GlobalAveragePool"]
)
def test_constants_a_channel_behind_a_reduction_over_time_are_those_of_their_channel(
    tmp_path: Path, operator: str, keep: int, behind: str
) -> None:
    """OpenVINO 2026.4.1 takes those of other channels in float32, for every sample but the first."""
    if operator == "GlobalAveragePool" and not keep:
        pytest.skip("it keeps its axes")
    random = np.random.default_rng(3)
    shape = (4, 1) if keep else (4,)
    held = [numpy_helper.from_array(np.array([2]), "axes")]
    constants = ["c", "offset", "mean", "variance"]
    held += [numpy_helper.from_array(random.uniform(0.5, 2, shape).astype(np.float32), "k")]
    held += [numpy_helper.from_array(random.uniform(0.5, 2, 4).astype(np.float32), name) for name in constants]
    said: dict[str, Any] = {"GlobalAveragePool": {}, "ReduceSum": {"keepdims": keep}}.get(
        operator, {"keepdims": keep, "axes": [2]}
    )
    over = ["axes"] if operator == "ReduceSum" else []
    nodes = [helper.make_node(operator, ["image", *over], ["v0"], "last", **said)]
    for index, name in enumerate(behind.split(", ")):
        with_it = constants if name == "BatchNormalization" else [] if name in ("Relu", "Sigmoid") else ["k"]
        nodes.append(helper.make_node(name, [f"v{index}", *with_it], [f"v{index + 1}"]))
    nodes.append(helper.make_node("Identity", [nodes[-1].output[0]], ["logits"]))
    graph = save(tmp_path / "net.onnx", nodes, held, ("n", 4, 6), ("n", 4, 1) if keep else ("n", 4))
    engine = OpenVino().compile(graph, target(), fresh(tmp_path / "engine"), "fp32")
    opened = openvino.Core().compile_model(engine.path, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    for samples in (1, 2, 9):
        feed = {"image": random.normal(size=(samples, 4, 6)).astype(np.float32)}
        right = ReferenceEvaluator(onnx.load(graph.path)).run(None, feed)[0]
        np.testing.assert_allclose(opened(feed)["logits"], right, rtol=1e-4, atol=1e-5)


_OVER_THE_LAST = {
    "LogSoftmax": ["LogSoftmax"],
    "a maximum off": ["ReduceMax", "Sub"],
    "a minimum off": ["ReduceMin", "Sub"],
    "a mean off": ["ReduceMean", "Sub"],
    "a sum off": ["ReduceSum", "Sub"],
    "by a maximum": ["ReduceMax", "Div"],
}


@pytest.mark.parametrize("before", ["InstanceNormalization", "Mul, Relu"])
@pytest.mark.parametrize("over", list(_OVER_THE_LAST))
def test_a_norm_before_what_is_over_the_last_axis_stays_of_its_channel_in_integers(
    tmp_path: Path, over: str, before: str
) -> None:
    """OpenVINO 2026.4.1 moves its constants behind the reduction, and reads them beyond their end."""
    random, node = np.random.default_rng(3), helper.make_node
    held = [numpy_helper.from_array(random.uniform(0.5, 2, 4).astype(np.float32), name) for name in ("k", "b")]
    held += [numpy_helper.from_array(random.uniform(0.5, 2, (4, 1)).astype(np.float32), "c")]
    held += [numpy_helper.from_array(np.float32(0.05), "s"), numpy_helper.from_array(np.uint8(128), "z")]
    held += [numpy_helper.from_array(np.array([2]), "axes")]
    if before == "InstanceNormalization":
        nodes = [node(before, ["image", "k", "b"], ["v"])]
    else:
        nodes = [node("Mul", ["image", "c"], ["m"]), node("Relu", ["m"], ["v"])]
    first, *second = _OVER_THE_LAST[over]
    if not second:
        nodes.append(node(first, ["v"], ["y"], axis=2))
    else:
        said = {"axes": [2]} if first != "ReduceSum" else {}
        nodes.append(node(first, ["v", *([] if said else ["axes"])], ["r"], keepdims=1, **said))
        # By one more than the largest, which may be 0.
        nodes.append(node("Add", ["r", "one"], ["d"]))
        nodes.append(node(second[0], ["v", "d"], ["y"]))
        held.append(numpy_helper.from_array(np.float32(1), "one"))
    nodes += [node("QuantizeLinear", ["y", "s", "z"], ["q"]), node("DequantizeLinear", ["q", "s", "z"], ["logits"])]
    graph = save(tmp_path / "net.onnx", nodes, held, ("n", 4, 6), ("n", 4, 6))
    engine = OpenVino().compile(graph, target(), fresh(tmp_path / "engine"), "int8")
    opened = openvino.Core().compile_model(engine.path, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    reference = onnxruntime.InferenceSession(graph.path, providers=["CPUExecutionProvider"])
    for samples in (1, 9, 40):
        # One step: a value between two may be rounded to either.
        feed = {"image": random.normal(size=(samples, 4, 6)).astype(np.float32)}
        np.testing.assert_allclose(opened(feed)["logits"], reference.run(None, feed)[0], atol=0.051)
