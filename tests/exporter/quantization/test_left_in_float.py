"""What a runtime has no right integer kernel for stays float, with the reason."""

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from edgepress.exporter.graphs.files import read_graph
from edgepress.exporter.quantization.quantizer import Quantizer
from edgepress.profiles.device.target import load_target

AMX = "computes an int8 convolution of this form wrongly on processors with AMX"


def convolution(channels, kernel, groups=1):
    """A convolution of so many input channels a group, and another one behind it that any runtime computes rightly."""
    size = (len(kernel), [40] * len(kernel))
    rng = np.random.default_rng(0)
    width = channels * groups
    weights = [
        numpy_helper.from_array(rng.normal(size=shape).astype(np.float32) * 0.1, name)
        for name, shape in (("w", (width, channels, *kernel)), ("v", (8, width, *[1] * size[0])))
    ]
    nodes = [
        helper.make_node("Conv", ["x", "w"], ["c"], name="suspect", group=groups),
        helper.make_node("Conv", ["c", "v"], ["y"], name="plain"),
    ]
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, [2, width, *size[1]])
    y = helper.make_tensor_value_info("y", TensorProto.FLOAT, None)
    graph = helper.make_graph(nodes, "g", [x], [y], weights)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def left(model, target, directory):
    """Why nodes stay float for a target."""
    onnx.save(onnx.shape_inference.infer_shapes(model), directory / "m.onnx")
    quantizer = Quantizer.of(read_graph(directory / "m.onnx"), load_target(target).scheme)
    assert len(quantizer.placement.weights) + len(quantizer.placement.left) == 2
    return quantizer.placement.left


# Measured on a Xeon with AMX, OpenVINO 2026.4.1: docs/zoo.md. The last two follow from the cause.
@pytest.mark.parametrize(
    ("channels", "kernel", "groups"),
    [(16, (8,), 1), (16, (16,), 1), (16, (16,), 2), (24, (16,), 2), (8, (16,), 4), (4, (32,), 1), (16, (3, 8), 1)],
)
def test_a_convolution_that_openvino_computes_wrongly_with_amx_stays_float_everywhere(
    channels, kernel, groups, tmp_path
):
    model = convolution(channels, kernel, groups)
    (found,) = left(model, "cpu", tmp_path).items()
    assert found[0] == "suspect" and AMX in found[1]
    assert not left(model, "server-cpu", tmp_path)
    assert not left(model, "mobile", tmp_path)
    assert not left(model, "jetson", tmp_path)


@pytest.mark.parametrize(
    ("channels", "kernel", "groups"),
    [(16, (k,), 1) for k in (3, 4, 5, 7, 9)] + [(32, (16,), 1), (4, (16,), 4), (2, (16,), 4), (16, (3, 3), 1)],
)
def test_its_brothers_that_are_right_there_are_int8(channels, kernel, groups, tmp_path):
    for target in ("cpu", "server-cpu", "mobile"):
        assert not left(convolution(channels, kernel, groups), target, tmp_path)
