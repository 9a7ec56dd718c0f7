"""What holds of the int8 graph of every example in every scheme."""

from itertools import islice

import numpy as np
import onnx
import onnx_ir as ir
import onnxruntime as ort
import pytest
from onnx import numpy_helper

from edgepress.calibration.collect import collect
from edgepress.calibration.feeds import checked, feeds_from_object
from edgepress.exporter.capture.capture import capture
from edgepress.exporter.quantization.lifts import LIFTS
from edgepress.exporter.quantization.quantizer import Quantizer
from edgepress.exporter.sources import load_source

from ._cases import SCHEMES

STORED = [name for name, scheme in SCHEMES.items() if scheme.weight_storage == "integer"]
FLOAT = [name for name, scheme in SCHEMES.items() if scheme.weight_storage == "float"]
SMALL = ("digits", "mobilenet", "classics/mlp", "classics/convnet")
LARGE = ("vit", "minilm", "classics/cnn28", "classics/cifar", "classics/text_mlp", "classics/distilbert")
EXAMPLES = [*SMALL, *(pytest.param(name, marks=pytest.mark.slow) for name in LARGE)]


@pytest.fixture(scope="module", params=EXAMPLES)
def example(request, examples, tmp_path_factory):
    """The captured graph of an example, and its first calibration batches."""
    source = load_source(str(examples / f"{request.param}.py"))
    graph = capture(source, 20, tmp_path_factory.mktemp("captured") / "model.onnx", {})
    feeds = checked(feeds_from_object(source.calibration), graph.inputs, "calibration()")
    return graph, list(islice(feeds(), 2))


def write(example, scheme, path, lifts):
    graph, feeds = example
    quantizer = Quantizer.of(graph, scheme, lifts=lifts)
    quantizer.write(collect(graph, quantizer.placement.observed(), lambda: iter(feeds)), path)
    return quantizer.placement


def initializers(path):
    return {tensor.name: numpy_helper.to_array(tensor) for tensor in onnx.load(path).graph.initializer}


def twin(path, result):
    """Write the graph without any QuantizeLinear and DequantizeLinear, where weights are float behind them."""
    model = ir.load(path)
    for node in list(model.graph):
        if node.op_type in ("QuantizeLinear", "DequantizeLinear"):
            before, after = node.inputs[0], node.outputs[0]
            if after.is_graph_output():
                outputs = model.graph.outputs
                outputs[next(i for i, value in enumerate(outputs) if value is after)] = before
                before.name, after.name = after.name, f"{after.name}_quantized"
            after.replace_all_uses_with(before)
            model.graph.remove(node, safe=True)
    for name in [name for name, value in model.graph.initializers.items() if not value.uses()]:
        del model.graph.initializers[name]
    ir.save(model, result)


@pytest.mark.parametrize("lifts", [(), LIFTS.names()], ids=["no lifts", "all lifts"])
@pytest.mark.parametrize("name", SCHEMES)
def test_the_int8_graph_passes_the_checker_and_full_shape_inference(example, name, lifts, tmp_path):
    write(example, SCHEMES[name], tmp_path / "int8.onnx", lifts)
    model = onnx.load(tmp_path / "int8.onnx")
    onnx.checker.check_model(model, full_check=True)
    inferred = onnx.shape_inference.infer_shapes(model, check_type=True, strict_mode=True, data_prop=True)
    known = {value.name for value in (*inferred.graph.value_info, *inferred.graph.output)}
    assert {output for node in inferred.graph.node for output in node.output if output} <= known


@pytest.mark.parametrize("name", FLOAT)
def test_the_float_twin_is_the_input_bit_by_bit(example, name, tmp_path):
    write(example, SCHEMES[name], tmp_path / "int8.onnx", ())
    twin(tmp_path / "int8.onnx", tmp_path / "twin.onnx")
    graph, feeds = example
    expected, found = initializers(graph.path), initializers(tmp_path / "twin.onnx")
    used = {name for node in onnx.load(graph.path).graph.node for name in node.input}
    assert found.keys() == expected.keys() & used
    assert all(found[name].tobytes() == expected[name].tobytes() for name in found)
    one, other = (ort.InferenceSession(path).run(None, feeds[0]) for path in (graph.path, tmp_path / "twin.onnx"))
    assert all(a.tobytes() == b.tobytes() for a, b in zip(one, other, strict=True))


@pytest.mark.parametrize("name", STORED)
def test_without_lifts_integer_weights_are_the_rounded_ones_and_the_rest_is_untouched(example, name, tmp_path):
    write(example, SCHEMES[name], tmp_path / "int8.onnx", ())
    expected, found = initializers(example[0].path), initializers(tmp_path / "int8.onnx")
    kept = [key for key in found.keys() & expected.keys() if found[key].dtype == np.float32]
    assert all(found[key].tobytes() == expected[key].tobytes() for key in kept)
    stored = [key for key in found if key.endswith("_quantized") and found[key].dtype == np.int8]
    assert stored
    for key in stored:
        weight, scale = expected[key.removesuffix("_quantized")], found[key.replace("_quantized", "_scale")]
        axes = [axis for axis, size in enumerate(weight.shape) if scale.ndim and size == len(scale)]
        errors = [np.abs(found[key] * shaped(scale, weight.ndim, axis) - weight) for axis in axes or [None]]
        bounds = [0.5001 * shaped(scale, weight.ndim, axis) for axis in axes or [None]]
        assert any((error <= bound).all() for error, bound in zip(errors, bounds, strict=True)), key


def shaped(scale, rank, axis):
    return scale if axis is None else scale.reshape([-1 if a == axis else 1 for a in range(rank)])
