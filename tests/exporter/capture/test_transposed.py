"""A ConvTranspose that pads by an output's size, and a Gemm with factors: files of other converters, in int8."""

import json

import numpy as np
import onnx
import onnx_ir as ir
import onnxruntime
import openvino
import pytest
from onnx import numpy_helper, parser

from edgepress import InputError, export
from edgepress.exporter.capture.onnx_to_opset import converted
from edgepress.exporter.capture.rewrites.explicit_pads import explicit_pads

RNG = np.random.default_rng(0)
HELD = RNG.standard_normal((8, 3, 5, 5)).astype(np.float32)


def file(path, attributes, kernel=(3, 3)):
    model = parser.parse_model(
        '<ir_version: 8, opset_import: ["" : 17]> net (float[N,3,5,5] x) => (float[N,4,P,Q] y) '
        f"{{ y = ConvTranspose<{attributes}>(x, w) }}"
    )
    weight = np.random.default_rng(1).standard_normal((3, 4, *kernel)).astype(np.float32)
    model.graph.initializer.append(numpy_helper.from_array(weight, "w"))
    onnx.save(model, path)
    return path


def run(model, x):
    (result,) = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"]).run(None, {"x": x})
    return result


@pytest.mark.parametrize("kernel", [(3, 3), (4, 2)])
@pytest.mark.parametrize(
    "attributes",
    [
        'auto_pad="SAME_UPPER", strides=[2,2]',
        'auto_pad="SAME_LOWER", strides=[2,2]',
        'auto_pad="SAME_UPPER", strides=[3,2], output_padding=[1,0]',
        'auto_pad="VALID", strides=[2,1]',
        'auto_pad="SAME_LOWER", dilations=[2,1]',
        "output_shape=[11,10], strides=[2,2]",
        'output_shape=[10,9], strides=[2,2], auto_pad="SAME_UPPER"',
    ],
)
def test_pads_are_those_that_were_meant(tmp_path, attributes, kernel):
    path = file(tmp_path / "net.onnx", attributes, kernel)
    model = converted(path, 17)
    assert explicit_pads(model) == 1 and not {"auto_pad", "output_shape"} & set(model.graph.node(0).attributes)
    ir.save(model, tmp_path / "padded.onnx")
    np.testing.assert_array_equal(run(tmp_path / "padded.onnx", HELD), run(path, HELD))


def test_openvino_computes_it_in_integers(tmp_path):
    path = file(tmp_path / "net.onnx", "output_shape=[11,10], strides=[2,2]")
    data = [{"x": RNG.standard_normal((4, 3, 5, 5)).astype(np.float32)} for _ in range(16)]
    how = {"precision": "int8", "calibration": data, "output": tmp_path, "measure": False}
    bundle = export(path, target="cpu", **how)
    compiled = openvino.Core().compile_model(bundle.path / "engine" / "model.xml", "CPU")
    found, right = compiled({"x": HELD})[0], run(path, HELD)
    assert 10 * np.log10(np.sum(right**2) / np.sum((found - right) ** 2)) > 20
    with pytest.raises(InputError, match="this target has no integer kernel for ConvTranspose"):
        export(path, target="server-cpu", **how)


def test_the_factors_of_a_gemm_are_in_its_constants(tmp_path):
    model = parser.parse_model(
        '<ir_version: 8, opset_import: ["" : 17]> net (float[N,8] x) => (float[N,4] y) '
        "{ h = Gemm<alpha=0.5, beta=3.0, transB=1>(x, w, b) r = Relu(h) y = Gemm<alpha=2.0>(r, v) }"
    )
    arrays = {name: RNG.standard_normal(shape) for name, shape in (("w", (6, 8)), ("b", 6), ("v", (6, 4)))}
    model.graph.initializer.extend(numpy_helper.from_array(a.astype(np.float32), n) for n, a in arrays.items())
    onnx.save(model, path := tmp_path / "net.onnx")
    data = [{"x": RNG.standard_normal((4, 8)).astype(np.float32)} for _ in range(16)]
    how = {"precision": "int8", "calibration": data, "output": tmp_path, "measure": False}
    bundle = export(path, target="server-cpu", **how)
    coverage = json.loads((bundle.path / "report.json").read_text())["coverage"]
    assert coverage["integer"] == coverage["total"] == 2
    x = RNG.standard_normal((8, 8)).astype(np.float32)
    found, right = run(bundle.path / "engine" / "model.onnx", x), run(path, x)
    assert 10 * np.log10(np.sum(right**2) / np.sum((found - right) ** 2)) > 25
