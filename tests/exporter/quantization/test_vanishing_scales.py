"""Activations so small that a bias has no scale."""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from edgepress.calibration.collect import collect
from edgepress.exporter.graphs.files import read_graph
from edgepress.exporter.quantization.quantizer import Quantizer
from edgepress.profiles.device.target import load_target


def test_a_bias_whose_scale_vanishes_is_zero(tmp_path: Path) -> None:
    """0 / 0 would be no number, and as an integer the least there is."""
    rng = np.random.default_rng(0)
    weight = rng.normal(size=(8, 8, 3, 3)).astype(np.float32)
    weight[3] *= 1e-12
    x, y = (helper.make_tensor_value_info(name, TensorProto.FLOAT, [4, 8, 6, 6]) for name in "xy")
    conv = helper.make_node("Conv", ["x", "w", "b"], ["y"], "conv", kernel_shape=[3, 3], pads=[1, 1, 1, 1])
    stored = [numpy_helper.from_array(weight, "w"), numpy_helper.from_array(np.zeros(8, np.float32), "b")]
    model = helper.make_model(
        helper.make_graph([conv], "g", [x], [y], stored), opset_imports=[helper.make_opsetid("", 17)], ir_version=8
    )
    onnx.save(model, tmp_path / "float.onnx")
    graph = read_graph(tmp_path / "float.onnx")
    quantizer = Quantizer.of(graph, load_target("server-cpu").scheme, lifts=())
    batches = [{"x": (rng.normal(size=(4, 8, 6, 6)) * 1e-34).astype(np.float32)} for _ in range(3)]
    statistics = collect(graph, quantizer.placement.observed(), lambda: iter(batches))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        quantizer.write(statistics, tmp_path / "int8.onnx")
    made = {each.name: numpy_helper.to_array(each) for each in onnx.load(tmp_path / "int8.onnx").graph.initializer}
    assert not made["b_quantized"].any()
    assert made["b_scale"][3] == 0
