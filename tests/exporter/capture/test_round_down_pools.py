"""Pools that round their size up, of which ONNX's rule of shapes and OpenVINO keep a last window in the padding."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper

from edgepress import export
from edgepress.exporter.capture.rewrites.round_down_pools import round_down_pools
from edgepress.exporter.graphs.files import read_model, write_model

openvino = pytest.importorskip("openvino")
CHANNELS = 4


def pool(
    path: Path,
    operator: str,
    kernel: int,
    stride: int,
    padding: int,
    dilation: int,
    axes: int,
    *,
    places: bool,
    **more: int,
) -> Path:
    outputs = ["y", "places"][: 1 + places]
    if operator == "MaxPool":
        more["dilations"] = [dilation] + [1] * (axes - 1)
    node = helper.make_node(
        operator, ["x"], outputs, "pool", kernel_shape=[kernel] + [3] * (axes - 1), ceil_mode=1,
        strides=[stride] + [2] * (axes - 1), pads=[padding] * 2 * axes, **more,
    )  # fmt: skip
    sizes = ["batch", CHANNELS, *(f"size{i}" for i in range(axes))]
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


def rewritten(path: Path) -> tuple[Path, int]:
    """The file after the rewrite, and how many pools were rewritten."""
    model = read_model(path)
    count, new = round_down_pools(model), path.with_name("new.onnx")
    write_model(model, new)
    return new, count


def same(path: Path, new: Path, axes: int) -> None:
    """As onnxruntime computes both, at several sizes, places included; and OpenVINO the new one."""
    given, found = (onnxruntime.InferenceSession(str(one)) for one in (path, new))
    compiled = openvino.Core().compile_model(new, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    for size in range(6, 12):
        x = np.random.default_rng(size).normal(size=(2, CHANNELS, *[size] * axes)).astype(np.float32)
        right, engine = given.run(None, {"x": x}), compiled([x])
        for one, two, name in zip(right, found.run(None, {"x": x}), ("y", "places"), strict=False):
            np.testing.assert_allclose(two, one, atol=1e-6)
            np.testing.assert_allclose(engine[name], one, atol=1e-6)


@pytest.mark.parametrize("operator", ["MaxPool", "AveragePool"])
@pytest.mark.parametrize("axes", [1, 3])
@pytest.mark.parametrize(("kernel", "stride", "padding", "dilation"), [(2, 3, 1, 1), (3, 3, 1, 1), (2, 4, 0, 1)])
def test_a_window_that_begins_in_the_padding_is_dropped(
    tmp_path: Path, kernel: int, stride: int, padding: int, dilation: int, axes: int, operator: str
) -> None:
    path = pool(tmp_path / "m.onnx", operator, kernel, stride, padding, dilation, axes, places=False)
    new, count = rewritten(path)
    assert count == 1
    same(path, new, axes)


def test_places_are_those_of_the_unpadded_value(tmp_path: Path) -> None:
    path = pool(tmp_path / "m.onnx", "MaxPool", 2, 3, 1, 1, 2, places=True)
    new, count = rewritten(path)
    assert count == 1
    same(path, new, 2)


def test_a_padding_beyond_the_taps_is_not_written(tmp_path: Path) -> None:
    assert not rewritten(pool(tmp_path / "m.onnx", "MaxPool", 2, 3, 1, 2, 2, places=True))[1]


@pytest.mark.parametrize("operator", ["MaxPool", "AveragePool"])
def test_what_drops_nothing_or_counts_its_padding_is_left_alone(tmp_path: Path, operator: str) -> None:
    assert not rewritten(pool(tmp_path / "m.onnx", operator, 3, 2, 1, 1, 2, places=False))[1]
    counted = pool(tmp_path / "c.onnx", "AveragePool", 2, 3, 1, 1, 2, places=False, count_include_pad=1)
    assert not rewritten(counted)[1]


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
