"""Recurrent layers over sequences of several lengths on OpenVINO, which reads over the lengths where sizes are free."""

from __future__ import annotations

from pathlib import Path
from typing import Any

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
HIDDEN, VALUES, TIME = 8, 6, 9
GATES = {"LSTM": 4, "GRU": 3, "RNN": 1}


def recurrent(
    path: Path, operator: str, direction: str, time: int | str = "time", lengths: str = "lengths", **settings: Any
) -> Path:
    """One layer with all its results as outputs."""
    rng, ways = np.random.default_rng(0), 2 if direction == "bidirectional" else 1
    rows = GATES[operator] * HIDDEN
    weights = {"W": (ways, rows, VALUES), "R": (ways, rows, HIDDEN), "B": (ways, 2 * rows)}
    inits = [numpy_helper.from_array((rng.normal(size=s) * 0.4).astype(np.float32), n) for n, s in weights.items()]
    outputs = ["y", "last", "cell"][: 3 if operator == "LSTM" else 2]
    nodes = [helper.make_node(operator, ["x", "W", "R", "B", "cut"], outputs, "layer", hidden_size=HIDDEN,
                              direction=direction, **settings)]  # fmt: skip
    inputs = [helper.make_tensor_value_info("x", TensorProto.FLOAT, [time, "batch", VALUES])]
    if lengths == "lengths":
        inputs.append(helper.make_tensor_value_info("lengths", TensorProto.INT64, ["batch"]))
        nodes.insert(0, helper.make_node("Cast", ["lengths"], ["cut"], "cut", to=TensorProto.INT32))
    else:  # as tf2onnx writes them: the whole axis for each sample
        inits.append(numpy_helper.from_array(np.array([1]), "one"))
        inits.append(numpy_helper.from_array(np.array([0]), "zero"))
        nodes[:0] = [
            helper.make_node("Shape", ["x"], ["sizes"], "sizes"),
            helper.make_node("Gather", ["sizes", "one"], ["samples"], "samples"),
            helper.make_node("Gather", ["sizes", "zero"], ["steps"], "steps"),
            helper.make_node("Expand", ["steps", "samples"], ["all"], "all"),
            helper.make_node("Cast", ["all"], ["cut"], "cut", to=TensorProto.INT32),
        ]
    shapes = [[time, ways, "batch", HIDDEN], *[[ways, "batch", HIDDEN]] * 2]
    made = helper.make_graph(
        nodes,
        "graph",
        inputs,
        [helper.make_tensor_value_info(n, TensorProto.FLOAT, s) for n, s in zip(outputs, shapes, strict=False)],
        inits,
    )
    onnx.save(helper.make_model(made, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)
    return path


def feed(lengths: list[int], seed: int = 0) -> dict[str, Any]:
    x = np.random.default_rng(seed).normal(size=(TIME, len(lengths), VALUES)).astype(np.float32)
    return {"x": x, "lengths": np.array(lengths)}


@pytest.mark.parametrize("time", ["time", TIME])
@pytest.mark.parametrize("direction", ["forward", "reverse", "bidirectional"])
@pytest.mark.parametrize("operator", GATES)
def test_each_sequence_ends_at_its_length(tmp_path: Path, operator: str, direction: str, time: int | str) -> None:
    path = recurrent(tmp_path / "m.onnx", operator, direction, time)
    engine = OpenVino().compile(read_graph(path), load_target("cpu"), tmp_path, "fp32")
    compiled = openvino.Core().compile_model(engine.path, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    reference = onnxruntime.InferenceSession(str(path))
    for lengths in ([9, 5, 3, 7], [9, 9], [1], [2, 1, 2]):
        found, given = compiled(feed(lengths)), feed(lengths)
        for name, right in zip(engine.outputs, reference.run(None, given), strict=True):
            np.testing.assert_allclose(found[name.name], right, atol=1e-5)


def test_what_runs_over_the_whole_axis_stays_one_layer(tmp_path: Path) -> None:
    path = recurrent(tmp_path / "m.onnx", "GRU", "bidirectional", lengths="")
    engine = OpenVino().compile(read_graph(path), load_target("cpu"), tmp_path, "fp32")
    kinds = [op.get_type_name() for op in openvino.Core().read_model(engine.path).get_ops()]
    assert kinds.count("GRUSequence") == 1
    assert "Range" not in kinds


def test_lengths_that_the_data_do_not_show_are_kept(tmp_path: Path) -> None:
    """All samples fill the axis, so that no link of the proof sees a length."""
    path = recurrent(tmp_path / "m.onnx", "LSTM", "bidirectional")
    data = [feed([TIME] * 4, seed) for seed in range(4)]
    bundle = export(path, target="cpu", precision="fp32", calibration=data, measure=False, output=tmp_path)
    compiled = openvino.Core().compile_model(
        bundle.path / "engine/model.xml", "CPU", {"INFERENCE_PRECISION_HINT": "f32"}
    )
    given = feed([4, 9, 2, 6], 9)
    (right, *_), found = onnxruntime.InferenceSession(str(path)).run(None, given), compiled(given)["y"]
    np.testing.assert_allclose(found, right, atol=1e-4)
