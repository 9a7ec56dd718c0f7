from __future__ import annotations

import platform
import re
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from edgepress.backends.base import Feed
from edgepress.backends.openvino import OpenVino
from edgepress.errors import InputError, UnservedError
from edgepress.exporter.capture.capture import capture
from edgepress.exporter.graphs.files import read_graph
from edgepress.exporter.sources import source_from_object
from edgepress.profiles.findings.layers import Layer, coverage

from ._residual import (
    CONVOLUTIONS,
    attention,
    digests,
    feeds,
    fresh,
    quantized,
    residual,
    save,
    target,
    with_custom_node,
)

openvino = pytest.importorskip("openvino")
FLOATS = {"f32", "bf16", "f16"}


def inspected(directory: Path, activation: str, *, symmetric: bool, weight: str = "QInt8") -> dict[str, Layer]:
    backend, graph = OpenVino(), quantized(directory, activation, symmetric=symmetric, weight=weight)
    engine = backend.compile(graph, target(), fresh(directory / "engine"), "int8")
    return {layer.name: layer for layer in backend.inspect(engine, feeds(2)[0])}


@pytest.mark.parametrize(("activation", "symmetric"), [("QUInt8", False), ("QInt8", True)])
def test_int8_is_seen_in_the_kernels_of_every_convolution(tmp_path: Path, activation: str, symmetric: bool) -> None:
    layers = inspected(tmp_path, activation, symmetric=symmetric)
    assert all(layers[name].integer and layers[name].kernel.lower().endswith("i8") for name in (*CONVOLUTIONS, "head"))
    assert coverage(list(layers.values())).share == 1.0
    assert all(layers[name].microseconds is not None for name in CONVOLUTIONS)


def test_asymmetric_weights_are_silently_float_and_reported_so(tmp_path: Path) -> None:
    layers = inspected(tmp_path, "QUInt8", symmetric=False, weight="QUInt8")
    for name in (*CONVOLUTIONS, "head"):  # the runtime says `runtimePrecision` u8 of the head
        assert layers[name].compute
        assert not layers[name].integer
        # Which float is the processor's choice: bf16 with AVX-512 BF16 or AMX, fp16 on ARM.
        assert layers[name].kernel.rpartition("_")[2] in FLOATS
        arrives = re.match(r"its inputs arrive: first as (\w+) from \S+, second as \w+ from \S+$", layers[name].reason)
        assert arrives is not None
        assert arrives[1] in FLOATS
    assert str(coverage(list(layers.values()))) == "0 of 4 (0%)"


def test_only_compute_layers_count_as_integer(tmp_path: Path) -> None:
    layers = inspected(tmp_path, "QUInt8", symmetric=False)
    assert not layers["pool"].compute
    assert not layers["pool"].integer


def test_the_matrix_products_inside_a_fused_attention_count(tmp_path: Path) -> None:
    graph, feed = attention(tmp_path / "attention.onnx")
    engine = OpenVino().compile(graph, target(), fresh(tmp_path / "engine"), "fp32")
    fused = [layer for layer in OpenVino().inspect(engine, feed) if layer.operator == "Subgraph"]
    assert any(layer.compute and not layer.integer for layer in fused)


def test_the_weights_keep_their_precision(tmp_path: Path) -> None:
    single = OpenVino().compile(residual(tmp_path / "f.onnx"), target(), fresh(tmp_path / "f"), "fp32")
    parameters = 16 * (3 * 9 + 2 * 16 * 9 + 3) + 16 * 4 + 4
    assert single.path.with_suffix(".bin").stat().st_size >= 4 * parameters
    eighth = OpenVino().compile(quantized(tmp_path, "QUInt8", symmetric=False), target(), fresh(tmp_path / "i"), "int8")
    assert eighth.path.with_suffix(".bin").stat().st_size < 2 * parameters


def test_the_same_graph_gives_the_same_bytes_without_a_trace_of_this_machine(tmp_path: Path) -> None:
    graph = quantized(tmp_path, "QUInt8", symmetric=False)
    first, second = fresh(tmp_path / "1"), fresh(tmp_path / "2")
    for directory in (first, second):
        OpenVino().compile(graph, target(), directory, "int8")
    assert digests(first) == digests(second)
    text = (first / "model.xml").read_text()
    assert str(tmp_path) not in text
    assert graph.path.name not in text
    assert "conversion_parameters" not in text


def test_floats_beside_integers_are_lowered_where_the_processor_likes_to_and_nobody_asks(tmp_path: Path) -> None:
    backend = OpenVino()
    graph = quantized(tmp_path, "QUInt8", symmetric=False, weight="QUInt8")  # all kernels are float
    assert (backend.exactly(target()) is None) == (backend.native_float(target()) == "fp32")
    exact = backend.exactly(target()) or target(floats="float32")
    assert backend.exactly(exact) is None
    engine = backend.compile(graph, exact, fresh(tmp_path / "e"), "int8")
    layers = backend.inspect(engine, feeds(2)[0])
    assert {layer.kernel.rpartition("_")[2] for layer in layers if layer.compute} == {"f32"}
    assert set(backend.loader(engine)) == {"load.py"}
    assert not backend.loader(replace(engine, target=target()))


def test_single_precision_is_not_lowered(tmp_path: Path) -> None:
    engine = OpenVino().compile(residual(tmp_path / "f.onnx"), target(), fresh(tmp_path / "e"), "fp32")
    layers = OpenVino().inspect(engine, feeds(2)[0])
    assert {layer.kernel.rpartition("_")[2] for layer in layers if layer.compute} == {"f32"}


@pytest.mark.parametrize("call", ["check", "compile"])
def test_a_custom_operator_is_refused_by_the_name_of_its_node(tmp_path: Path, call: str) -> None:
    graph = with_custom_node(tmp_path / "twist.onnx")
    if call == "check":
        (rejection,) = OpenVino().check(graph, target())
        assert rejection.node == "the_twist"
        assert "acme.Twist" in rejection.reason
    else:
        with pytest.raises(InputError, match=r"the_twist: OpenVINO has no conversion for the operator acme\.Twist"):
            OpenVino().compile(graph, target(), fresh(tmp_path / "e"), "fp32")


def test_a_failed_conversion_names_the_node_and_the_last_word(tmp_path: Path) -> None:
    from onnx import helper, numpy_helper

    attributes = {"mode": "cubic", "coordinate_transformation_mode": "tf_crop_and_resize"}
    node = helper.make_node("Resize", ["image", "", "scales"], ["logits"], "the_resize", **attributes)
    scales = numpy_helper.from_array(np.ones(4, np.float32), "scales")
    graph = save(tmp_path / "resize.onnx", [node], [scales], (1, 3, 8, 8), (1, 3, 8, 8))
    (rejection,) = OpenVino().check(graph, target())
    assert rejection.node == "the_resize"
    assert "tf_crop_and_resize" in rejection.reason


def test_a_device_that_is_not_there_says_which_are(tmp_path: Path) -> None:
    engine = OpenVino().compile(residual(tmp_path / "f.onnx"), target(), fresh(tmp_path / "e"), "fp32")
    with pytest.raises(UnservedError, match=r"finds no ABACUS on this machine; it finds CPU"):
        OpenVino().open(replace(engine, target=target(device="ABACUS")))


@pytest.mark.parametrize(
    ("feed", "message"),
    [
        ({}, "expects image"),
        ({"image": np.zeros((2, 3, 12, 12), np.float64)}, "has dtype float64, expected float32"),
        ({"image": np.zeros((2, 3, 12, 13), np.float32)}, r"expected \(batch, 3, 12, 12\)"),
    ],
)
def test_a_feed_that_does_not_fit_is_the_users_fault(tmp_path: Path, feed: Feed, message: str) -> None:
    engine = OpenVino().compile(residual(tmp_path / "f.onnx"), target(), fresh(tmp_path / "e"), "fp32")
    with OpenVino().open(engine) as session, pytest.raises(InputError, match=message):
        session(feed)


def test_without_the_runtime_the_remedy_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "openvino", None)
    here = OpenVino().available()
    assert not here.run
    assert not here.compile
    assert 'pip install "edgepress[openvino]"' in here.remedy


def test_the_float_that_openvino_chooses_by_itself_is_that_of_a_network_nobody_tells(tmp_path: Path) -> None:
    chosen = OpenVino().native_float(target())
    engine = OpenVino().compile(residual(tmp_path / "f.onnx"), target(), fresh(tmp_path / "e"), "fp32")
    network = openvino.Core().compile_model(engine.path, "CPU")
    told = network.get_property("INFERENCE_PRECISION_HINT").to_string()
    assert chosen == {"f32": "fp32", "bf16": "bf16", "f16": "fp16"}[told]
    assert chosen.upper() in openvino.Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")


@pytest.mark.skipif(
    platform.machine() != "x86_64" or not Path("/proc/cpuinfo").exists(), reason="reads an x86's flags from Linux"
)
def test_on_an_x86_the_float_that_openvino_chooses_follows_its_flags() -> None:
    flags = Path("/proc/cpuinfo").read_text(encoding="utf-8")
    expected = "fp16" if "amx_fp16" in flags else "bf16" if "bf16" in flags else "fp32"
    assert OpenVino().native_float(target()) == expected


def test_what_is_timed_computes_the_same(tmp_path: Path) -> None:
    engine = OpenVino().compile(residual(tmp_path / "f.onnx"), target(), fresh(tmp_path / "engine"), "fp32")
    feed = feeds(2)[0]
    with OpenVino().open(engine) as session:
        seen: Any = session.bind(feed)()
        np.testing.assert_array_equal(seen["logits"], session(feed)["logits"])


def test_an_input_that_is_an_output_as_well_is_fed_by_its_name(tmp_path: Path) -> None:
    """OpenVINO merges the two tensors, and keeps one name."""
    value = helper.make_tensor_value_info
    # So many that they take a microsecond, the least that OpenVINO counts: a layer of none is one that never ran.
    many = 30_000
    ends = [value(name, TensorProto.FLOAT, [3 * many]) for name in ("a", "b", "y", "z")]
    nodes = [helper.make_node("Max", ["a"], ["y"], "same"), helper.make_node("Relu", ["b"], ["z"], "relu")]
    model = helper.make_model(
        helper.make_graph(nodes, "through", ends[:2], ends[2:]), opset_imports=[helper.make_opsetid("", 17)]
    )
    onnx.save(model, tmp_path / "through.onnx")
    engine = OpenVino().compile(read_graph(tmp_path / "through.onnx"), target(), fresh(tmp_path / "engine"), "fp32")
    feed = {"a": np.tile(np.float32([1, -2, 3]), many), "b": np.tile(np.float32([-4, 5, -6]), many)}
    with OpenVino().open(engine) as session:
        found = session(feed)
        session.bind(feed)()
    np.testing.assert_array_equal(found["y"], feed["a"])
    np.testing.assert_array_equal(found["z"], np.tile(np.float32([0, 5, 0]), many))
    assert OpenVino().inspect(engine, feed)


@pytest.mark.parametrize(("kind", "told"), [(TensorProto.FLOAT16, True), (TensorProto.INT32, False)])
def test_that_infinities_are_not_kept_is_told(tmp_path: Path, kind: int, told: bool) -> None:
    ends = [helper.make_tensor_value_info(name, of, [3]) for name, of in (("x", TensorProto.FLOAT), ("y", kind))]
    graph = helper.make_graph([helper.make_node("Cast", ["x"], ["y"], "cast", to=kind)], "cast", ends[:1], ends[1:])
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)]), tmp_path / "cast.onnx")
    engine = OpenVino().compile(read_graph(tmp_path / "cast.onnx"), target(), fresh(tmp_path / "engine"), "fp32")
    assert any("an infinity that y converts" in note for note in engine.notes) is told


def test_inputs_whose_names_are_lost_are_fed_by_their_places(tmp_path: Path) -> None:
    """A sequence that is taken apart hands them on under its own."""
    ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [3]) for name in "aby"]
    first = helper.make_tensor("first", TensorProto.INT64, [], [0])
    nodes = [
        helper.make_node("SequenceConstruct", ["a", "b"], ["both"]),
        helper.make_node("SequenceAt", ["both", "first"], ["one"]),
        helper.make_node("Neg", ["one"], ["y"]),
    ]
    model = helper.make_model(
        helper.make_graph(nodes, "sequence", ends[:2], ends[2:], [first]), opset_imports=[helper.make_opsetid("", 17)]
    )
    onnx.save(model, tmp_path / "sequence.onnx")
    engine = OpenVino().compile(read_graph(tmp_path / "sequence.onnx"), target(), fresh(tmp_path / "engine"), "fp32")
    feed = {"a": np.float32([1, 2, 3]), "b": np.float32([4, 5, 6])}
    with OpenVino().open(engine) as session:
        assert session(feed)["y"].tolist() == [-1, -2, -3]
        session.bind(feed)()
    OpenVino().inspect(engine, feed)


@pytest.mark.parametrize("mode", ["bilinear", "bicubic"])
@pytest.mark.parametrize("size", [(40, 50), (40, 260)])
def test_antialiased_resizes_are_what_torch_computes(tmp_path: Path, mode: str, size: tuple[int, int]) -> None:
    """OpenVINO reads over ONNX's `antialias`: on noise it was up to 160 of 255 off."""
    import torch
    from torch.nn import functional

    class Smaller(torch.nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return functional.interpolate(x, size=size, mode=mode, antialias=True)

    picture = torch.randint(0, 256, (2, 3, 97, 120), generator=torch.Generator().manual_seed(0)).float()
    source = source_from_object(Smaller(), {"x": picture}, dynamic={"x": {0: "batch"}})
    graph = capture(source, 20, tmp_path / "model.onnx", {})
    engine = OpenVino().compile(graph, target(), fresh(tmp_path / "engine"), "fp32")
    with OpenVino().open(engine) as session:
        found = session({"x": picture.numpy()})["output"]
    assert np.abs(found - Smaller()(picture).numpy()).max() < 0.02


def test_an_antialiased_resize_that_it_does_not_have_is_refused(tmp_path: Path) -> None:
    sizes = helper.make_tensor("sizes", TensorProto.INT64, [3], [2, 3, 40])
    node = helper.make_node("Resize", ["x", "", "", "sizes"], ["y"], name="shrink", mode="linear", antialias=1)
    shapes = [helper.make_tensor_value_info(n, TensorProto.FLOAT, [2, 3, s]) for n, s in (("x", 97), ("y", 40))]
    made = helper.make_graph([node], "graph", shapes[:1], shapes[1:], [sizes])
    onnx.save(helper.make_model(made, opset_imports=[helper.make_opsetid("", 18)], ir_version=9), tmp_path / "m.onnx")
    (rejection,) = OpenVino().check(read_graph(tmp_path / "m.onnx"), target())
    assert "without antialiasing" in rejection.reason


@pytest.mark.parametrize(
    ("operator", "settings", "said"),
    [
        ("LSTM", {}, ""),
        ("LSTM", {"clip": 1.0, "activations": ["Sigmoid", "Tanh", "Relu"]}, ""),
        ("LSTM", {"peepholes": True}, "peepholes"),
        ("LSTM", {"input_forget": 1}, "input_forget"),
        ("LSTM", {"activations": ["HardSigmoid", "Softsign", "Relu"]}, "not hardsigmoid, softsign"),
        ("GRU", {"activations": ["LeakyRelu", "Tanh"]}, "not leakyrelu"),
        ("RNN", {"direction": "bidirectional", "activations": ["Tanh", "Relu"]}, "first direction"),
        ("GRU", {"direction": "bidirectional", "activations": ["Sigmoid", "Tanh"] * 2}, ""),
    ],
)
def test_a_recurrent_layer_that_it_reads_otherwise_is_refused_by_name(
    tmp_path: Path, operator: str, settings: dict[str, Any], said: str
) -> None:
    rng, hidden = np.random.default_rng(0), 8
    directions = 2 if settings.get("direction") == "bidirectional" else 1
    gates = {"LSTM": 4, "GRU": 3, "RNN": 1}[operator] * hidden
    shapes = {"W": (directions, gates, 6), "R": (directions, gates, hidden), "B": (directions, 2 * gates)}
    inputs = ["x", *shapes]
    settings = dict(settings)
    if settings.pop("peepholes", False):
        shapes["P"], inputs = (1, 3 * hidden), [*inputs, "", "", "", "P"]
    weights = [numpy_helper.from_array(rng.normal(size=s).astype(np.float32), n) for n, s in shapes.items()]
    node = helper.make_node(operator, inputs, ["y"], "cell", hidden_size=hidden, **settings)
    ends = [helper.make_tensor_value_info(n, TensorProto.FLOAT, s) for n, s in
            (("x", [5, 3, 6]), ("y", [5, directions, 3, hidden]))]  # fmt: skip
    made = helper.make_graph([node], "graph", ends[:1], ends[1:], weights)
    onnx.save(helper.make_model(made, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), tmp_path / "m.onnx")
    found = OpenVino().check(read_graph(tmp_path / "m.onnx"), target())
    assert [each.node for each in found] == ["cell"] * bool(said)
    assert all(said in each.reason and "Loop" in each.reason for each in found)


@pytest.mark.parametrize("mode", ["bilinear", pytest.param("bicubic", marks=pytest.mark.slow), "nearest"])
def test_images_in_bytes_are_resized_a_plane_at_a_time(tmp_path: Path, mode: str) -> None:
    import torch
    from torch.nn import functional

    class Smaller(torch.nn.Module):
        def forward(self, image: torch.Tensor) -> torch.Tensor:
            return functional.interpolate(image.permute(0, 3, 1, 2).float(), size=(40, 50), mode=mode) - 3

    picture = torch.randint(0, 256, (2, 97, 120, 3), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    source = source_from_object(Smaller(), {"image": picture}, dynamic={"image": {0: "batch"}})
    graph = capture(source, 20, tmp_path / "model.onnx", {})
    engine = OpenVino().compile(graph, target(), fresh(tmp_path / "engine"), "fp32")
    (resize,) = (op for op in openvino.Core().read_model(engine.path).get_ops() if op.get_type_name() == "Interpolate")
    assert len(resize.get_output_partial_shape(0)) == 3
    with OpenVino().open(engine) as session:
        for images in (picture, picture[:1]):
            found = session({"image": images.numpy()})["output"]
            assert np.abs(found - Smaller()(images).numpy()).max() < 0.01  # of 255


def test_bags_of_embeddings_are_told_what_to_write_instead(tmp_path: Path) -> None:
    """They come as a loop over a sequence; of what is inside, OpenVINO says that its types are dynamic."""
    import torch

    bags = torch.nn.EmbeddingBag(50, 16, mode="mean").eval()
    source = source_from_object(bags, {"input": torch.randint(0, 50, (4, 12))}, name="bags")
    refused = OpenVino().check(capture(source, 20, tmp_path / "bags.onnx", {}), target())
    assert "an Embedding and a mean" in refused[0].reason, refused


def test_an_input_in_double_precision_that_is_an_output_is_not_written_over(tmp_path: Path) -> None:
    """The process died of a broken heap where OpenVINO converted it there and back in the caller's memory."""
    ends = (
        [helper.make_tensor_value_info("x", TensorProto.DOUBLE, ["n", 7, 6])],
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["n", 7, 6]) for name in ("y", "z")],
    )
    nodes = [helper.make_node("Cast", ["x"], ["y"], to=TensorProto.FLOAT), helper.make_node("Relu", ["y"], ["z"])]
    model = helper.make_model(helper.make_graph(nodes, "net", *ends), opset_imports=[helper.make_opsetid("", 17)])
    model.ir_version = 8
    onnx.save(model, tmp_path / "net.onnx")
    engine = OpenVino().compile(read_graph(tmp_path / "net.onnx"), target(), fresh(tmp_path / "engine"), "fp32")
    read = openvino.Core().read_model(engine.path)
    assert not [op for op in read.get_ops() if op.get_type_name() == "Convert"]
    with OpenVino().open(engine) as session:
        for samples in (1, 8, 3, 5) * 10:
            x = np.random.default_rng(samples).normal(size=(samples, 7, 6))
            found = session({"x": x})
            np.testing.assert_array_equal(found["y"], x.astype(np.float32))
            np.testing.assert_array_equal(found["z"], np.maximum(found["y"], 0))
