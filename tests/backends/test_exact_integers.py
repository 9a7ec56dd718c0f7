"""Sums of integers on the reference place and in engines, whatever processor this is."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from onnx import helper, numpy_helper

import edgepress
from edgepress.backends.places import Reference
from edgepress.exporter.bundle.reportables import load_report
from edgepress.exporter.graphs.files import read_model
from edgepress.exporter.graphs.values import constant
from edgepress.profiles.machine.environment import this_machine

from ._residual import described, feeds, quantized, save, target

VNNI = {"avx_vnni", "avx512_vnni"}


@pytest.mark.parametrize("inside", [False, True], ids=["engine", "values inside"])
def test_the_reference_adds_up_exactly(tmp_path: Path, inside: bool) -> None:
    """Products of 255 and 127, of which two are more than 16 bits hold."""
    weight = np.full((64, 4), 127, np.int8)
    constants = {"s": np.float32(1), "z": np.uint8(0), "w": weight, "wz": np.int8(0), "big": np.float32(1 << 16)}
    nodes = [
        helper.make_node("QuantizeLinear", ["image", "s", "z"], ["q"]),
        helper.make_node("DequantizeLinear", ["q", "s", "z"], ["x"]),
        helper.make_node("DequantizeLinear", ["w", "s", "wz"], ["v"]),
        helper.make_node("MatMul", ["x", "v"], ["y"]),
        helper.make_node("QuantizeLinear", ["y", "big", "z"], ["r"]),
        helper.make_node("DequantizeLinear", ["r", "big", "z"], ["logits"]),
    ]
    arrays = [numpy_helper.from_array(np.asarray(array), name) for name, array in constants.items()]
    save(tmp_path / "model.onnx", nodes, arrays, (2, 64), (2, 4))
    graph, place = described(tmp_path / "model.onnx", (2, 64), (2, 4)), Reference()
    feed = {"image": np.full((2, 64), 255, np.float32)}
    if inside:
        with place.values(graph.path) as values:
            (found,) = values(feed).values()
    else:
        with place.open(place.runs(graph, target(), "int8", None)) as session:
            (found,) = session(feed).values()
    assert (found == np.round(64 * 255 * 127 / (1 << 16)) * (1 << 16)).all()


@pytest.mark.skipif(not VNNI.intersection(this_machine().isa), reason="without VNNI plain sums saturate")
@pytest.mark.parametrize("batch", [1, 3])
def test_with_vnni_plain_sums_are_the_exact_ones_to_the_bit(tmp_path: Path, batch: int) -> None:
    """So the reference leaves out what makes them exact elsewhere, and is three times as fast."""
    import onnxruntime as ort

    graph = quantized(tmp_path, "QUInt8", symmetric=False)
    found = []
    for told in ("0", "1"):
        options = ort.SessionOptions()
        options.add_session_config_entry("session.x64quantprecision", told)
        session = ort.InferenceSession(str(graph.path), options, providers=["CPUExecutionProvider"])
        found.append([session.run(None, feed)[0].tobytes() for feed in feeds(batch)])
    assert found[0] == found[1]
    place = Reference()
    with place.open(place.runs(graph, target(), "int8", None)) as session:
        assert [session(feed)["logits"].tobytes() for feed in feeds(batch)] == found[0]


@pytest.mark.parametrize("name", ["cpu", "server-cpu"])
def test_an_int8_engine_is_right_on_this_processor_and_the_report_says_what_that_took(
    tmp_path: Path, name: str
) -> None:
    torch.manual_seed(0)
    model = torch.nn.Sequential(torch.nn.Linear(64, 64), torch.nn.ReLU(), torch.nn.Linear(64, 8)).eval()
    # Large activations and weights of one sign are what fills 16 bits.
    with torch.no_grad():
        model[0].weight.abs_()
    rng = np.random.default_rng(0)
    data = [{"x": rng.uniform(0, 1, (8, 64)).astype(np.float32)} for _ in range(16)]
    bundle = edgepress.export(
        model, {"x": torch.rand(2, 64)}, target=name, name="net", calibration=data, precision="int8",
        dynamic={"x": {0: "n"}}, measure=False, output=tmp_path,
    )  # fmt: skip
    report = load_report(bundle.path)
    exact = bool(VNNI.intersection(this_machine().isa))
    assert any("Weights use 7 of 8 bits" in note for note in report.notes) != exact
    largest = max(
        np.abs(array.astype(int)).max()
        for value in read_model(bundle.path / "model.onnx").graph.initializers.values()
        if (array := constant(value)) is not None and array.dtype == np.int8 and array.ndim == 2
    )
    assert largest == (127 if exact else 63)
