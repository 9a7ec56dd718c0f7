"""Boxes without an area, which OpenVINO makes NaN of."""

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

openvino = pytest.importorskip("openvino")
onnxruntime = pytest.importorskip("onnxruntime")
from edgepress.backends._openvino.rois import nothing_of_empty_boxes  # noqa: E402

BOXES = np.array([[2, 2, 2, 2], [2, 2, 9, 2], [0, 0, 0, 0], [1, 2, 9, 7], [5, 5, 2, 2], [-3, -3, 30, 30]], np.float32)


@pytest.mark.parametrize("corners", ["half_pixel", "output_half_pixel"])
@pytest.mark.parametrize("samples", [0, 2])
@pytest.mark.parametrize("then", ["", "Relu"])
def test_a_box_without_an_area_is_nothing(corners: str, samples: int, then: str, tmp_path: Path) -> None:
    align = helper.make_node(
        "RoiAlign", ["x", "boxes", "of"], ["a" if then else "y"], output_height=3, output_width=3,
        sampling_ratio=samples, coordinate_transformation_mode=corners,
    )  # fmt: skip
    graph = helper.make_graph(
        [align, *([helper.make_node(then, ["a"], ["y"])] if then else [])],
        "g",
        [
            helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 2, 16, 16]),
            helper.make_tensor_value_info("boxes", TensorProto.FLOAT, ["k", 4]),
            helper.make_tensor_value_info("of", TensorProto.INT64, ["k"]),
        ],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["k", 2, 3, 3])],
    )
    path = tmp_path / "m.onnx"
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9), path)
    x = np.random.default_rng(0).normal(size=(1, 2, 16, 16)).astype(np.float32)
    feed = {"x": x, "boxes": BOXES, "of": np.zeros(len(BOXES), np.int64)}
    wanted = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"]).run(None, feed)[0]
    model = openvino.Core().read_model(path)
    nothing_of_empty_boxes(model)
    assert model.output(0).get_names() == {"y"}
    found = openvino.Core().compile_model(model, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})(feed)[0]
    np.testing.assert_allclose(found, wanted, atol=1e-5)
