from __future__ import annotations

import logging
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from edgepress.backends._onnxfile import external_files, read_nodes
from edgepress.backends.base import Graph
from edgepress.backends.onnxruntime import CONFIG, FLOAT, INTEGER, OnnxRuntime
from edgepress.errors import InputError
from edgepress.profiles.device.target import Target
from edgepress.profiles.findings.layers import Layer, coverage

from ._residual import (
    CONVOLUTIONS,
    attention,
    described,
    digests,
    feeds,
    fresh,
    quantized,
    residual,
    save,
    target,
    with_custom_node,
)

ORT_X86 = target(format="ort")
ORT_ARM = target("aarch64", format="ort")


def inspected(graph: Graph, to: Target, directory: Path) -> dict[str, Layer]:
    engine = OnnxRuntime().compile(graph, to, fresh(directory), "int8")
    return {layer.name: layer for layer in OnnxRuntime().inspect(engine, feeds(2)[0])}


@pytest.mark.parametrize("to", [target(), ORT_X86, ORT_ARM], ids=["onnx", "ort x86", "ort arm"])
def test_int8_is_seen_in_the_operators_that_ran(tmp_path: Path, to: Target) -> None:
    layers = inspected(quantized(tmp_path, "QUInt8", symmetric=False), to, tmp_path / "engine")
    assert all(layers[name].operator == "QLinearConv" and layers[name].integer for name in CONVOLUTIONS)
    assert layers["head"].operator == "QGemm"
    assert coverage(list(layers.values())).share == 1.0
    assert all(layer.microseconds for layer in layers.values())


def test_symmetric_activations_leave_a_convolution_float_and_reported_so(tmp_path: Path) -> None:
    layers = inspected(quantized(tmp_path, "QInt8", symmetric=True), target(), tmp_path / "engine")
    assert layers["first"].compute
    assert not layers["first"].integer
    assert layers["first"].reason == "its first input arrives as float"


def test_the_platform_optimized_for_decides_what_becomes_integer(tmp_path: Path) -> None:
    graph = quantized(tmp_path, "QInt8", symmetric=False)
    arm = inspected(graph, ORT_ARM, tmp_path / "arm")
    desktop = inspected(graph, target(format="ort", optimize_for="amd64"), tmp_path / "amd64")
    assert coverage(list(arm.values())).share == 1.0
    assert not desktop["first"].integer


def test_the_operators_that_compute_are_told_apart() -> None:
    assert not INTEGER & FLOAT


def test_every_matrix_product_of_an_attention_counts(tmp_path: Path) -> None:
    graph, feed = attention(tmp_path / "attention.onnx")
    engine = OnnxRuntime().compile(graph, target(), fresh(tmp_path / "engine"), "fp32")
    assert coverage(OnnxRuntime().inspect(engine, feed)).total == 5


@pytest.mark.parametrize("to", [ORT_X86, ORT_ARM], ids=["x86", "arm"])
def test_an_ort_file_has_the_same_bytes_each_time_and_no_path(tmp_path: Path, to: Target) -> None:
    graph = quantized(tmp_path, "QUInt8", symmetric=False)
    made = [fresh(tmp_path / str(i)) for i in range(3)]
    engines = [OnnxRuntime().compile(graph, to, directory, "int8") for directory in made]
    assert digests(made[0]) == digests(made[1]) == digests(made[2])
    assert engines[0].notes == ()
    config = (made[0] / CONFIG).read_text()
    assert "# - model.ort" in config
    assert "QLinearConv" in config
    assert str(tmp_path) not in config
    assert str(tmp_path).encode() not in (made[0] / "model.ort").read_bytes()


def test_the_rewritten_ort_file_computes_what_the_graph_does(tmp_path: Path) -> None:
    graph = residual(tmp_path / "f.onnx")
    results = []
    for name, to in {"onnx": target(), "ort": ORT_ARM}.items():
        with OnnxRuntime().open(OnnxRuntime().compile(graph, to, fresh(tmp_path / name), "fp32")) as session:
            results.append(session(feeds(3)[0])["logits"])
    np.testing.assert_allclose(results[1], results[0], rtol=1e-5, atol=1e-6)


def test_a_conversion_is_quiet_and_leaves_logging_alone(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    graph, handlers = quantized(tmp_path, "QUInt8", symmetric=False), list(logging.root.handlers)
    capfd.readouterr()
    OnnxRuntime().compile(graph, ORT_X86, fresh(tmp_path / "e"), "int8")
    assert capfd.readouterr() == ("", "")
    assert logging.root.handlers == handlers


def test_external_weights_come_along(tmp_path: Path) -> None:
    plain = residual(tmp_path / "f.onnx")
    path = fresh(tmp_path / "source") / "big.onnx"
    onnx.save(onnx.load(plain.path), path, save_as_external_data=True, location="big.data", size_threshold=0)
    graph = described(path, plain.inputs[0].shape, plain.outputs[0].shape)
    assert external_files(path) == ("big.data",)
    engine = OnnxRuntime().compile(graph, target(), fresh(tmp_path / "e"), "fp32")
    assert sorted(f.name for f in engine.path.parent.iterdir()) == ["big.data", "model.onnx"]
    with OnnxRuntime().open(engine) as session:
        assert np.isfinite(session(feeds(2)[0])["logits"]).all()


def test_nodes_are_read_as_the_onnx_package_reads_them(tmp_path: Path) -> None:
    branch = helper.make_graph(
        [helper.make_node("Abs", ["image"], ["inner"], "nested")],
        "branch",
        [],
        [helper.make_tensor_value_info("inner", TensorProto.FLOAT, [1])],
    )
    choice = helper.make_node("If", ["flag"], ["logits"], "", then_branch=branch, else_branch=branch)
    flag = numpy_helper.from_array(np.array(True), "flag")
    path = save(tmp_path / "if.onnx", [choice], [flag], (1,), (1,)).path
    assert [(n.operator, n.label) for n in read_nodes(path)] == [
        ("If", "If -> logits"),
        ("Abs", "nested"),
        ("Abs", "nested"),
    ]
    plain = residual(tmp_path / "f.onnx").path
    expected = [(n.name, n.op_type, tuple(n.output)) for n in onnx.load(plain).graph.node]
    assert [(n.name, n.operator, n.outputs) for n in read_nodes(plain)] == expected


@pytest.mark.parametrize("content", [b"", b"garbage here", b"\x3a\xff\xff\x7f"])
def test_what_is_no_onnx_file_has_no_nodes(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "x.onnx").write_bytes(content)
    with pytest.raises(InputError, match=r"x\.onnx is not an ONNX model"):
        read_nodes(tmp_path / "x.onnx")


def test_a_custom_operator_is_refused_by_the_name_of_its_node(tmp_path: Path) -> None:
    graph = with_custom_node(tmp_path / "twist.onnx")
    (rejection,) = OnnxRuntime().check(graph, target())
    assert str(rejection) == "the_twist: onnxruntime has no operator acme:Twist"
    for name, to in {"onnx": target(), "ort": ORT_ARM}.items():
        with pytest.raises(InputError, match=re.escape(str(rejection))):
            OnnxRuntime().compile(graph, to, fresh(tmp_path / name), "fp32")
        assert list((tmp_path / name).iterdir()) == []


def test_a_type_without_a_kernel_is_refused_by_the_name_of_its_node(tmp_path: Path) -> None:
    info = [
        helper.make_tensor_value_info(n, TensorProto.DOUBLE, s)
        for n, s in {"x": [1, 3, 8, 8], "w": [4, 3, 3, 3]}.items()
    ]
    out = helper.make_tensor_value_info("y", TensorProto.DOUBLE, None)
    made = helper.make_graph([helper.make_node("Conv", ["x", "w"], ["y"], "the_conv")], "g", info, [out])
    onnx.save(helper.make_model(made, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), tmp_path / "d.onnx")
    (rejection,) = OnnxRuntime().check(described(tmp_path / "d.onnx", (), ()), target())
    assert rejection.node == "the_conv"
    assert "no CPU kernel of Conv" in rejection.reason


def test_an_unknown_option_says_what_is_expected(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"option `format` is 'zip'; expected onnx or ort"):
        OnnxRuntime().compile(residual(tmp_path / "f.onnx"), target(format="zip"), fresh(tmp_path / "e"), "fp32")


def test_the_vendors_are_imported_when_they_are_used_and_not_before() -> None:
    code = (
        "import sys; from edgepress.backends.onnxruntime import OnnxRuntime;"
        "from edgepress.backends.openvino import OpenVino;"
        "OnnxRuntime().available(), OpenVino().available();"
        "print([m for m in ('onnxruntime', 'openvino', 'onnx', 'torch') if m in sys.modules])"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ran.stdout.strip() == "[]"


def test_without_the_runtime_the_remedy_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    assert 'pip install "edgepress[onnxruntime]"' in OnnxRuntime().available().remedy


def test_what_is_timed_computes_the_same(tmp_path: Path) -> None:
    engine = OnnxRuntime().compile(residual(tmp_path / "f.onnx"), ORT_X86, fresh(tmp_path / "engine"), "fp32")
    feed = feeds(2)[0]
    with OnnxRuntime().open(engine) as session:
        seen: Any = session.bind(feed)()
        np.testing.assert_array_equal(seen.copy_outputs_to_cpu()[0], session(feed)["logits"])


def test_a_damaged_engine_whose_fault_quotes_no_text_is_refused_in_words(tmp_path: Path) -> None:
    """The message of onnxruntime holds the damaged name, and does not become a string."""
    graph = residual(tmp_path / "sound.onnx")
    engine = OnnxRuntime().compile(graph, target(), fresh(tmp_path / "engine"), "fp32")
    engine.path.write_bytes(engine.path.read_bytes().replace(b"Gemm", b"G\xe1mm"))
    with pytest.raises(InputError, match=r"does not open model\.onnx: .*G.mm"):
        OnnxRuntime().open(engine)
