"""What a runtime has no right integer kernel for stays float, with the reason."""

import json

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

import edgepress
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


PLANE = "a kernel of several planes meets a volume of one"


def volume(planes: int | str, channels: int, kernel: tuple[int, int, int], groups: int = 1) -> onnx.ModelProto:
    """A convolution over a volume, padded all around, and one behind it that any runtime computes rightly."""
    rng, width = np.random.default_rng(0), channels * groups
    shapes = {"w": (8, channels, *kernel), "v": (4, 8, 1, 1, 1)}
    weights = [numpy_helper.from_array(rng.normal(size=s).astype(np.float32) * 0.3, n) for n, s in shapes.items()]
    nodes = [
        helper.make_node("Conv", ["x", "w"], ["c"], name="suspect", group=groups, pads=[1] * 6),
        helper.make_node("Conv", ["c", "v"], ["y"], name="plain"),
    ]
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, ["batch", width, planes, 6, 6])
    y = helper.make_tensor_value_info("y", TensorProto.FLOAT, ["batch", 4, "d", "h", "w"])
    graph = helper.make_graph(nodes, "g", [x], [y], weights)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


@pytest.mark.parametrize(("kernel", "groups"), [((3, 3, 3), 1), ((2, 3, 3), 1), ((3, 1, 1), 4)])
def test_several_planes_over_one_stay_float_on_openvino(kernel, groups, tmp_path):
    (found,) = left(volume(1, 1, kernel, groups), "cpu", tmp_path).items()
    assert found[0] == "suspect" and PLANE in found[1]
    assert not left(volume(1, 1, kernel, groups), "server-cpu", tmp_path)


@pytest.mark.parametrize(("planes", "channels", "kernel"), [(2, 1, (3, 3, 3)), (1, 2, (3, 3, 3)), (1, 1, (1, 3, 3))])
def test_other_volumes_are_integer_on_openvino(planes, channels, kernel, tmp_path):
    assert not left(volume(planes, channels, kernel), "cpu", tmp_path)


def test_a_volume_of_one_plane_is_right_in_int8(tmp_path):
    """The engine said nothing and had 1 dB where its graph had 42, before."""
    onnx.save(volume(1, 1, (2, 3, 3)), tmp_path / "model.onnx")
    rng = np.random.default_rng(1)
    data = [{"x": rng.uniform(0, 1, size=(8, 1, 1, 6, 6)).astype(np.float32)} for _ in range(12)]
    bundle = edgepress.export(
        tmp_path / "model.onnx", target="cpu", precision="int8", calibration=data, measure=False, output=tmp_path
    )
    assert json.loads((bundle.path / "report.json").read_text())["coverage"]["integer"] == 1
