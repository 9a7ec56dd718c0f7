"""Small graphs and what their int8 form computes, run without optimization."""

from functools import partial

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from onnx import TensorProto, helper, numpy_helper

from edgepress.backends._exact import exactly
from edgepress.calibration.collect import collect
from edgepress.calibration.feeds import checked
from edgepress.exporter.graphs.files import read_graph
from edgepress.exporter.quantization.quantizer import Quantizer
from edgepress.profiles.device.target import load_target

SCHEMES = {name: load_target(name).scheme for name in ("cpu", "server-cpu", "mobile", "rtx")}
every_scheme = pytest.mark.parametrize("name", SCHEMES)


def floats(name, *shape):
    return helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)


def weight(name, *shape, scale=0.3, seed=0):
    values = np.random.default_rng([seed, *name.encode()]).normal(size=shape) * scale
    return numpy_helper.from_array(values.astype(np.float32), name)


def array(name, values):
    return numpy_helper.from_array(np.asarray(values), name)


def model_of(nodes, inputs, outputs, initializers, opset=17):
    graph = helper.make_graph(nodes, "g", inputs, outputs, initializers)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)
    onnx.checker.check_model(model, full_check=True)
    return onnx.shape_inference.infer_shapes(model)


def normal(shape, seed=1, count=8):
    rng = np.random.default_rng(seed)
    return [rng.normal(size=shape).astype(np.float32) for _ in range(count)]


def to_int8(model, name, batches, directory, isa=None, lifts=None):
    """The int8 graph of a model with one input, its placement, and the path of the float one.

    `isa`: made for kernels of a processor with these instruction sets, of the scheme as it is written by default.
    """
    source, path = directory / "float.onnx", directory / "int8.onnx"
    onnx.save(model, source)
    graph = read_graph(source)
    scheme = SCHEMES[name]
    quantizer = Quantizer.of(graph, scheme if isa is None else scheme.on(isa), lifts=lifts)
    feeds = checked(lambda: iter([{graph.inputs[0].name: batch} for batch in batches]), graph.inputs, "test")
    quantizer.write(collect(graph, quantizer.placement.observed(), feeds), path)
    onnx.checker.check_model(str(path), full_check=True)
    return onnx.load(path), quantizer.placement, source, path


def opened(path, *, optimized=True):
    """A session that computes what the graph says, on processors too whose kernels for u8 and s8 saturate."""
    options, levels = ort.SessionOptions(), ort.GraphOptimizationLevel
    options.graph_optimization_level = levels.ORT_ENABLE_ALL if optimized else levels.ORT_DISABLE_ALL
    options.log_severity_level = 3
    return exactly(partial(ort.InferenceSession, path), options)


def run(path, batch):
    session = opened(path, optimized=False)
    return session.run(None, {session.get_inputs()[0].name: batch})[0]


def decibel(expected, found):
    return 10 * np.log10((expected.astype(float) ** 2).sum() / ((expected.astype(float) - found) ** 2).sum())
