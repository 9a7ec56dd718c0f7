"""A MaxPool that rounds its size up on OpenVINO, which keeps a last window that begins in the padding."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper

from edgepress import export
from edgepress.backends.openvino import OpenVino
from edgepress.exporter.graphs.files import read_graph
from edgepress.profiles.device.target import load_target

openvino = pytest.importorskip("openvino")
CHANNELS = 4


def pool(
    path: Path, kernel: int, stride: int, padding: int, dilation: int, axes: int, size: int | str, places: bool
) -> Path:
    outputs = ["y", "places"][: 1 + places]
    node = helper.make_node(
        "MaxPool", ["x"], outputs, "pool", kernel_shape=[kernel] + [3] * (axes - 1), ceil_mode=1,
        strides=[stride] + [2] * (axes - 1), pads=[padding] * 2 * axes, dilations=[dilation] + [1] * (axes - 1),
    )  # fmt: skip
    sizes = ["batch", CHANNELS, *([f"{size}{i}" for i in range(axes)] if isinstance(size, str) else [size] * axes)]
    types = [TensorProto.FLOAT, TensorProto.INT64]
    graph = helper.make_graph(
        [node],
        "pool",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, sizes)],
        [
            helper.make_tensor_value_info(name, of, ["b", "c", *"hwd"[:axes]])
            for name, of in zip(outputs, types, strict=False)
        ],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)
    return path


@pytest.mark.parametrize("axes", [1, 2, 3])
@pytest.mark.parametrize(
    ("kernel", "stride", "padding", "dilation"),
    [(2, 3, 1, 1), (3, 3, 1, 1), (2, 2, 1, 1), (2, 4, 0, 1), (3, 2, 1, 1), (2, 3, 1, 2), (1, 2, 0, 1)],
)
def test_a_window_that_begins_in_the_padding_is_dropped(
    tmp_path: Path, kernel: int, stride: int, padding: int, dilation: int, axes: int
) -> None:
    path = pool(tmp_path / "m.onnx", kernel, stride, padding, dilation, axes, "size", places=False)
    engine = OpenVino().compile(read_graph(path), load_target("cpu"), tmp_path, "fp32")
    compiled = openvino.Core().compile_model(engine.path, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    reference = onnxruntime.InferenceSession(str(path))
    for size in range(6, 12):
        x = np.random.default_rng(size).normal(size=(2, CHANNELS, *[size] * axes)).astype(np.float32)
        np.testing.assert_array_equal(compiled([x])[0], reference.run(["y"], {"x": x})[0])


@pytest.mark.parametrize("size", [7, 8, 9, "size"])
def test_places_are_those_of_the_unpadded_value(tmp_path: Path, size: int | str) -> None:
    path = pool(tmp_path / "m.onnx", 2, 3, 1, 1, 2, size, places=True)
    engine = OpenVino().compile(read_graph(path), load_target("cpu"), tmp_path, "fp32")
    compiled = openvino.Core().compile_model(engine.path, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    side = size if isinstance(size, int) else 8
    x = np.random.default_rng(0).normal(size=(2, CHANNELS, side, side)).astype(np.float32)
    found = compiled([x])
    for name, right in zip(("y", "places"), onnxruntime.InferenceSession(str(path)).run(None, {"x": x}), strict=True):
        np.testing.assert_array_equal(found[name], right)


def test_what_drops_nothing_is_left_alone(tmp_path: Path) -> None:
    path = pool(tmp_path / "m.onnx", 3, 2, 1, 1, 2, "size", places=False)
    engine = OpenVino().compile(read_graph(path), load_target("cpu"), tmp_path, "fp32")
    node = next(op for op in openvino.Core().read_model(engine.path).get_ops() if op.get_type_name() == "MaxPool")
    assert node.get_attributes()["rounding_type"] == "ceil"


def test_int8_of_free_sizes_is_right_and_integer_on_both_sides(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    shapes = {"first": (CHANNELS, CHANNELS, 3, 3), "second": (CHANNELS, CHANNELS, 1, 1)}
    inits = [numpy_helper.from_array((rng.normal(size=s) * 0.3).astype(np.float32), n) for n, s in shapes.items()]
    nodes = [
        helper.make_node("Conv", ["x", "first"], ["a"], "a"),
        helper.make_node("Relu", ["a"], ["b"], "b"),
        helper.make_node("MaxPool", ["b"], ["c"], "c", kernel_shape=[2, 2], strides=[3, 3], pads=[1] * 4, ceil_mode=1),
        helper.make_node("Conv", ["c", "second"], ["y"], "y"),
    ]
    graph = helper.make_graph(
        nodes,
        "pools",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["batch", CHANNELS, "h", "w"])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["batch", CHANNELS, "j", "k"])],
        inits,
    )
    path = tmp_path / "model.onnx"
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)
    feeds = [{"x": rng.normal(size=(4, CHANNELS, 12, 12)).astype(np.float32)} for _ in range(12)]
    bundle = export(path, target="cpu", precision="int8", calibration=feeds, measure=False, output=tmp_path)
    report = json.loads((bundle.path / "report.json").read_text())
    assert report["coverage"]["integer"] == 2
    for side in (9, 10, 11, 12):
        x = rng.normal(size=(2, CHANNELS, side, side)).astype(np.float32)
        right = onnxruntime.InferenceSession(str(path)).run(None, {"x": x})[0]
        found = openvino.Core().compile_model(bundle.path / "engine/model.xml", "CPU")([x])[0]
        assert found.shape == right.shape
        assert 10 * np.log10(np.square(right).sum() / np.square(right - found).sum()) > 25
