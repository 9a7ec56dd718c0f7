"""What is float in an engine of integers is computed by OpenVINO as its graph says, and equal values in their order."""

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from edgepress.backends.openvino import OpenVino
from edgepress.backends.places import Reference
from edgepress.exporter.graphs.files import read_graph
from edgepress.exporter.quantization.rewrites.keep_reduced import keep_reduced
from edgepress.profiles.device.target import load_target

openvino = pytest.importorskip("openvino")
node = helper.make_node
RNG = np.random.default_rng(0)
NORMAL = {"s": RNG.uniform(0.5, 2, 6), "b": RNG.normal(size=6), "m": RNG.normal(size=6), "v": RNG.uniform(1, 3, 6)}


def quantized(value: str, scale: float, low: int = 128) -> list[onnx.NodeProto]:
    """Q/DQ of a value in 8 bits, called `d`."""
    one = [
        node("Constant", [], ["qs"], value_float=scale),
        node("Constant", [], ["qz"], value=numpy_helper.from_array(np.uint8(low))),
    ]
    return [
        *one,
        node("QuantizeLinear", [value, "qs", "qz"], ["q"]),
        node("DequantizeLinear", ["q", "qs", "qz"], ["d"]),
    ]


def weight(*shape: int) -> dict[str, np.ndarray]:
    return {
        "wq": RNG.integers(-127, 128, shape).astype(np.int8),
        "ws": np.full(shape[0], 0.01, np.float32),
        "wz": np.zeros(shape[0], np.int8),
    }


WEIGHT = node("DequantizeLinear", ["wq", "ws", "wz"], ["w"], axis=0)


def agree(path: Path, nodes: list[onnx.NodeProto], held: dict, shape: tuple, rank: int, x: np.ndarray, **edit) -> float:
    """By how much OpenVINO and onnxruntime differ, beside the largest value."""
    constants = [
        numpy_helper.from_array(a.astype(np.float32) if a.dtype == np.float64 else a, n) for n, a in held.items()
    ]
    free = [f"y{i}" for i in range(rank)]
    graph = helper.make_graph(
        nodes, "net", [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, free)], constants,
    )  # fmt: skip
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.save(onnx.shape_inference.infer_shapes(model), path)
    if edit:
        import onnx_ir as ir

        opened = ir.load(path)
        assert keep_reduced(opened.graph, edit["kept"]) == 1
        ir.save(opened, path)
    target = load_target("cpu")
    engine = OpenVino().compile(read_graph(path), target, path.parent, "int8")
    exactly = OpenVino().exactly(target)
    engine = engine if exactly is None else OpenVino().compile(read_graph(path), exactly, path.parent, "int8")
    with Reference().values(path) as right, OpenVino().open(engine) as found:
        wanted, got = right({"x": x})["y"], found({"x": x})["y"]
    return float(np.abs(wanted - got).max() / np.abs(wanted).max())


@pytest.mark.parametrize("samples", [3, 12])
def test_a_sum_behind_a_norm_at_more_samples_than_its_second_axis_is_long(samples: int, tmp_path: Path) -> None:
    nodes = [
        node("BatchNormalization", ["x", "s", "b", "m", "v"], ["n"]),
        node("ReduceSum", ["n", "axes"], ["r"], keepdims=1),
        *quantized("r", 0.1),
        WEIGHT,
        node("Conv", ["d", "w"], ["y"]),
    ]
    held = {**NORMAL, **weight(4, 6, 1), "axes": np.array([2])}
    x = RNG.normal(size=(samples, 6, 4)).astype(np.float32)
    assert agree(tmp_path / "net.onnx", nodes, held, ("n", 6, 4), 3, x) < 0.02


@pytest.mark.parametrize("value", [-1.5, 0.0])
@pytest.mark.parametrize("between", [True, False])
def test_a_pad_with_a_value_behind_a_factor(value: float, between: bool, tmp_path: Path) -> None:
    """Of an axis of one: elsewhere the factor stays where it is."""
    nodes = [
        node("Div", ["x", "k"], ["a"]),
        node("Transpose", ["a"], ["t"], perm=[0, 1, 2, 3]) if between else node("Identity", ["a"], ["t"]),
        node("Pad", ["t", "pads", "value"], ["p"]),
        *quantized("p", 0.05),
        WEIGHT,
        node("Conv", ["d", "w"], ["y"]),
    ]
    pads = np.array([0, 0, 0, 1, 0, 0, 0, 1])
    held = {**weight(5, 4, 1, 3), "k": np.array(0.64), "pads": pads, "value": np.array(value)}
    x = RNG.normal(size=(2, 4, 8, 1)).astype(np.float32)
    assert agree(tmp_path / "net.onnx", nodes, held, (2, 4, 8, 1), 4, x) < 0.02


def test_a_sum_that_drops_axes_before_a_norm_keeps_them(tmp_path: Path) -> None:
    nodes = [
        node("ReduceSum", ["x", "axes"], ["r"], "sum", keepdims=0),
        node("BatchNormalization", ["r", "s", "b", "m", "v"], ["n"]),
        *quantized("n", 0.15),
        WEIGHT,
        node("Gemm", ["d", "w"], ["y"], transB=1),
    ]
    held = {**NORMAL, **weight(4, 6), "axes": np.array([1, 3])}
    x = RNG.normal(size=(4, 3, 6, 8)).astype(np.float32)
    assert agree(tmp_path / "net.onnx", nodes, held, (4, 3, 6, 8), 2, x, kept=["ReduceSum"]) < 0.02


@pytest.mark.parametrize("places", [1, 2, 5])
def test_of_equal_values_the_first_are_taken(places: int, tmp_path: Path) -> None:
    nodes = [
        node("TopK", ["x", "k"], ["values", "at"]),
        node("Cast", ["at"], ["f"], to=TensorProto.FLOAT),
        node("Add", ["f", "values"], ["y"]),
    ]
    x = RNG.integers(0, 4, (64, 9)).astype(np.float32)
    assert agree(tmp_path / "net.onnx", nodes, {"k": np.array([places])}, ("n", 9), 2, x) == 0


def test_the_largest_of_many_values_are_taken_as_quickly_as_before(tmp_path: Path) -> None:
    """A stable TopK takes 160 times as long there."""
    nodes = [node("TopK", ["x", "k"], ["y", "at"]), node("Cast", ["at"], ["f"], to=TensorProto.FLOAT)]
    nodes.append(node("Add", ["f", "y"], ["z"]))
    ends = [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, ["n", size])
        for name, size in (("x", 8400), ("y", 300), ("z", 300))
    ]
    held = [numpy_helper.from_array(np.array([300]), "k")]
    model = helper.make_model(
        helper.make_graph(nodes, "net", ends[:1], ends[1:], held),
        opset_imports=[helper.make_opsetid("", 17)],
        ir_version=8,
    )
    onnx.save(model, tmp_path / "net.onnx")
    engine = OpenVino().compile(read_graph(tmp_path / "net.onnx"), load_target("cpu"), tmp_path, "fp32")
    (found,) = [op for op in openvino.Core().read_model(engine.path).get_ops() if op.get_type_name() == "TopK"]
    assert not found.get_attributes()["stable"]
