from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper
from torch import nn
from torch.nn import functional

from edgepress.backends.base import AxisRange
from edgepress.errors import EdgepressError, InputError, VerificationError
from edgepress.exporter.capture.capture import capture
from edgepress.exporter.capture.proof import prove_capture
from edgepress.exporter.graphs.files import read_graph
from edgepress.exporter.sources import Source, load_source, source_from_object, torch_predict

BATCH = {"batch": AxisRange(smallest=1, usual=2, largest=32)}
TOKENS = {**BATCH, "sequence": AxisRange(smallest=1, usual=7, largest=64)}


class Block(nn.Module):
    def __init__(self, inside: int, outside: int, stride: int) -> None:
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(inside, outside, 3, stride, 1, bias=False), nn.BatchNorm2d(outside)
        self.conv2, self.bn2 = nn.Conv2d(outside, outside, 3, 1, 1, bias=False), nn.BatchNorm2d(outside)
        self.act = nn.ReLU6()
        self.short = nn.Sequential(nn.Conv2d(inside, outside, 1, stride, bias=False), nn.BatchNorm2d(outside))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.act(self.bn1(self.conv1(x)))
        return self.act(self.bn2(self.conv2(y)) + self.short(x))


class Residual(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.ModuleList([Block(3, 8, 1), Block(8, 16, 2)])
        self.pool, self.head = nn.AdaptiveAvgPool2d(1), nn.Linear(16, 10)

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        for layer in self.layers:
            image = layer(image)
        return self.head(self.pool(image).flatten(1))


class Encoder(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Embedding(50, 16)
        self.encoder = nn.TransformerEncoderLayer(16, 2, 32, batch_first=True)
        self.head = nn.Linear(16, 4)

    def forward(self, ids: torch.Tensor, mask: torch.Tensor) -> dict[str, torch.Tensor]:
        tokens = self.encoder(self.embed(ids), src_key_padding_mask=mask == 0)
        weights = mask.unsqueeze(-1).to(tokens.dtype)
        return {"scores": self.head((tokens * weights).sum(1) / weights.sum(1)), "tokens": tokens}


@pytest.fixture(scope="module")
def residual() -> Source:
    torch.manual_seed(0)
    net = Residual()
    for module in net.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.running_mean, -1, 1)
            nn.init.uniform_(module.running_var, 0.5, 2)
            nn.init.uniform_(module.weight, 0.5, 2)
    return source_from_object(net, {"image": torch.randn(2, 3, 12, 12)}, name="r", dynamic={"image": {0: "batch"}})


@pytest.fixture(scope="module")
def encoder() -> Source:
    torch.manual_seed(0)
    inputs = {"ids": torch.randint(0, 50, (2, 7)), "mask": torch.tensor([[1] * 7, [1] * 4 + [0] * 3])}
    free = {0: "batch", 1: "sequence"}
    return source_from_object(Encoder(), inputs, name="e", dynamic={"ids": free, "mask": free})


@pytest.mark.parametrize("opset", [20, 17, 13])
def test_a_residual_network_at_each_opset(residual: Source, tmp_path: Path, opset: int) -> None:
    graph = capture(residual, opset, tmp_path / "m.onnx", BATCH)
    assert (graph.opset, graph.axes) == (opset, BATCH)
    assert [(s.name, s.shape) for s in graph.inputs] == [("image", ("batch", 3, 12, 12))]
    assert [(s.name, s.shape) for s in graph.outputs] == [("output", ("batch", 10))]
    assert prove_capture(residual, graph, seed=0)["output"].sqnr_db > 100
    nodes = onnx.load(graph.path).graph.node
    assert "BatchNormalization" not in {node.op_type for node in nodes}
    assert {"layers.0.conv1/Conv", "layers.1.short.0/Conv", "head/Gemm"} <= {node.name for node in nodes}
    assert len({node.name for node in nodes}) == len(nodes)
    assert "Constant" not in {node.op_type for node in nodes}


@pytest.mark.parametrize(
    "opset", [pytest.param(20, marks=pytest.mark.slow), pytest.param(17, marks=pytest.mark.slow), 13]
)
def test_a_transformer_keeps_two_free_axes_at_each_opset(encoder: Source, tmp_path: Path, opset: int) -> None:
    graph = capture(encoder, opset, tmp_path / "m.onnx", TOKENS)
    assert graph.opset == opset
    assert [(s.name, s.shape) for s in graph.inputs] == [(n, ("batch", "sequence")) for n in ("ids", "mask")]
    assert [(s.name, s.shape) for s in graph.outputs] == [
        ("scores", ("batch", 4)),
        ("tokens", ("batch", "sequence", 16)),
    ]
    found = prove_capture(encoder, graph, seed=0)  # at batch 1, sequence 1 and at twice the example's
    assert min(p.sqnr_db for p in found.values()) > 100


@pytest.mark.parametrize("opset", [18, pytest.param(17, marks=pytest.mark.slow)])
def test_capturing_twice_gives_the_same_bytes_and_no_paths(residual: Source, tmp_path: Path, opset: int) -> None:
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
    first, second = (capture(residual, opset, tmp_path / name / "m.onnx", {}) for name in ("one", "two"))
    content = first.path.read_bytes()
    assert content == second.path.read_bytes()
    assert first.digest == second.digest
    assert not any(word in content for word in (b"/tmp", b"site-packages", b".py", b"pytorch", b"aten", b"pkg.torch"))
    assert sorted(p.name for p in tmp_path.rglob("*")) == ["m.onnx", "m.onnx", "one", "two"]


@pytest.mark.slow
@pytest.mark.parametrize("opset", [18, 13])
def test_nothing_is_printed_while_exporting(
    encoder: Source, tmp_path: Path, capfd: pytest.CaptureFixture[str], opset: int
) -> None:
    prove_capture(encoder, capture(encoder, opset, tmp_path / "m.onnx", TOKENS), 0)
    assert capfd.readouterr() == ("", "")


class Tuple(nn.Module):
    """Outputs that are an input, equal to one another, and None."""

    def forward(self, unused: torch.Tensor, x: torch.Tensor) -> tuple[Any, ...]:
        y = functional.relu(x)
        return y, None, y, x, y + 1


@pytest.mark.parametrize("opset", [18, 17])
def test_outputs_are_named_by_their_place(tmp_path: Path, opset: int) -> None:
    inputs = {"x": torch.randn(2, 3), "unused": torch.zeros(2)}
    source = source_from_object(Tuple(), inputs, name="t", dynamic={"x": {0: "batch"}})
    graph = capture(source, opset, tmp_path / "m.onnx", BATCH)
    assert [(s.name, s.shape) for s in graph.inputs] == [("unused", (2,)), ("x", ("batch", 3))]
    assert [s.name for s in graph.outputs] == [f"output_{i}" for i in (0, 2, 3, 4)]
    assert all(p.max_abs == 0 for p in prove_capture(source, graph, 0).values())


def test_inputs_by_position_keep_the_sources_names_even_those_of_values_inside(tmp_path: Path) -> None:
    net = nn.Sequential(nn.Linear(4, 3), nn.ReLU(), nn.Linear(3, 2))
    source = source_from_object(net, {"relu": torch.randn(2, 4)}, name="s", dynamic={"relu": {0: "n"}})
    graph = capture(source, 18, tmp_path / "m.onnx", {"n": AxisRange(smallest=1, usual=2, largest=3)})
    assert [(s.name, s.shape) for s in graph.inputs] == [("relu", ("n", 4))]
    prove_capture(source, graph, 0)


@pytest.mark.parametrize("opset", [20, 17])
def test_a_pt2_program(tmp_path: Path, opset: int) -> None:
    free = torch.export.Dim.DYNAMIC
    program = torch.export.export(Residual().eval(), (torch.randn(2, 3, 12, 12),), dynamic_shapes={"image": {0: free}})
    torch.export.save(program, tmp_path / "r.pt2")
    source = load_source(str(tmp_path / "r.pt2"), trust=True)
    graph = capture(source, opset, tmp_path / "m.onnx", BATCH)
    assert (graph.opset, graph.inputs[0].shape) == (opset, ("batch", 3, 12, 12))
    assert graph.outputs[0].shape == ("batch", 10)
    prove_capture(source, graph, 0)


@pytest.mark.parametrize("opset", [20, 13])
def test_a_hugging_face_model(tmp_path: Path, opset: int) -> None:
    from transformers import BertConfig, BertForSequenceClassification

    small = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 32}
    BertForSequenceClassification(BertConfig(**small, vocab_size=40)).save_pretrained(tmp_path / "bert")
    source = load_source(str(tmp_path / "bert"))
    graph = capture(source, opset, tmp_path / "m.onnx", TOKENS)
    assert graph.opset == opset
    assert [(s.name, s.shape) for s in graph.outputs] == [("logits", ("batch", 2))]
    prove_capture(source, graph, 0)


REFUSED = {
    "branch": ("if x.sum() > 0:\n            x = x * 2\n        return x", "branches on a value", "torch.where"),
    "operator": ("return torch.linalg.eigh(x @ x.T)[0]", "linalg_eigh has no ONNX form", "Replace"),
    "fixed": ("return x + torch.zeros(2, 3)", "to 2.", "do not declare the axis free"),
    "groups": (  # as a tracker correlates each sample with its own kernel
        "return torch.nn.functional.conv1d(x[None], x[:, None, :2], groups=x.shape[0])[0]",
        "the group of a Conv is a number in ONNX, and here it depends on a size that is free",
        "dynamic",
    ),
}
NET = """import torch

class Net(torch.nn.Module):
    def forward(self, x):
        BODY

def model():
    return Net()

def inputs():
    return {"x": torch.ones(2, 3)}

def dynamic():
    return {"x": {0: "batch"}}
"""


def written(directory: Path, case: str) -> Source:
    (directory / "net.py").write_text(NET.replace("BODY", REFUSED[case][0]))
    return load_source(str(directory / "net.py"))


@pytest.mark.parametrize(
    ("case", "opset"), [("branch", 18), ("operator", 18), ("operator", 17), ("fixed", 18), ("groups", 18)]
)
def test_a_model_that_cannot_be_exported_shows_the_users_line(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], case: str, opset: int
) -> None:
    _, expected, remedy = REFUSED[case]
    source = written(tmp_path, case)
    with pytest.raises(InputError, match=remedy) as caught:
        capture(source, opset, tmp_path / "m.onnx", BATCH)
    assert capfd.readouterr() == ("", "")
    message = str(caught.value)
    assert expected in message
    assert case == "fixed" or 'net.py", line 5, in forward' in message
    assert len(message.splitlines()) < 10
    assert "site-packages" not in message
    assert not (tmp_path / "m.onnx").exists()


def test_the_tracer_does_not_forget_a_branch(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="branches on a value"):
        capture(written(tmp_path, "branch"), 17, tmp_path / "m.onnx", BATCH)


def test_an_axis_that_the_tracer_fixed_is_found_by_the_proof(tmp_path: Path) -> None:
    source = written(tmp_path, "fixed")
    with pytest.raises(EdgepressError, match="fails on inputs of the shapes"):
        prove_capture(source, capture(source, 17, tmp_path / "m.onnx", BATCH), 0)


def test_a_size_at_which_the_model_fails_is_the_users(tmp_path: Path) -> None:
    module = nn.Sequential(nn.Conv1d(2, 2, 5))
    source = source_from_object(module, {"x": torch.randn(2, 2, 16)}, name="c", dynamic={"x": {2: "length"}})
    axes = {"length": AxisRange(smallest=1, usual=16, largest=32)}
    graph = capture(source, 18, tmp_path / "m.onnx", axes)
    with pytest.raises(InputError, match="--axis") as caught:
        prove_capture(source, graph, 0)
    assert "length=1:16:32" in str(caught.value)


def test_a_graph_of_other_weights_is_not_proven(residual: Source, tmp_path: Path) -> None:
    graph = capture(residual, 18, tmp_path / "m.onnx", BATCH)
    model = onnx.load(graph.path)
    weight = next(t for t in model.graph.initializer if t.name == "head.weight")
    changed = numpy_helper.to_array(weight).copy()
    changed[0, 0] += 0.05
    weight.CopyFrom(numpy_helper.from_array(changed, weight.name))
    onnx.save(model, graph.path)
    with pytest.raises(VerificationError, match="differs from the model's"):
        prove_capture(residual, read_graph(graph.path, BATCH), 0)


def test_a_model_that_gives_nan_is_not_proven(tmp_path: Path) -> None:
    module = nn.Linear(3, 2)
    nn.init.constant_(module.bias, float("nan"))
    source = source_from_object(module, {"input": torch.randn(2, 3)}, name="n")
    with pytest.raises(VerificationError, match="NaN or Inf"):
        prove_capture(source, capture(source, 18, tmp_path / "m.onnx", {}), 0)


def onnx_model(opset: int, nodes: list[Any], weights: dict[str, Any], **shapes: list[Any]) -> onnx.ModelProto:
    infos = {name: helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name, shape in shapes.items()}
    constants = [numpy_helper.from_array(array, name) for name, array in weights.items()]
    graph = helper.make_graph(nodes, "g", [infos["x"]], [infos["y"]], constants)
    graph.doc_string = "made at /home/someone"
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)


@pytest.fixture
def convolution(tmp_path: Path) -> Callable[[int], Source]:
    """Conv, BatchNormalization and Relu, at any opset."""
    rng = np.random.default_rng(0)
    shapes = {"w": (4, 3, 3, 3), "s": (4,), "b": (4,), "v": (4,)}
    weights = {name: rng.uniform(0.5, 1.5, shape).astype(np.float32) for name, shape in shapes.items()}
    nodes = [
        helper.make_node("Conv", ["x", "w"], ["c"], pads=[1, 1, 1, 1]),
        helper.make_node("BatchNormalization", ["c", "s", "b", "b", "v"], ["n"], "kept"),
        helper.make_node("Relu", ["n"], ["y"]),
    ]

    def make(opset: int) -> Source:
        model = onnx_model(opset, nodes, weights, x=[None, 3, 8, 8], y=[None, 4, 8, 8])
        onnx.save(model, tmp_path / "given.onnx")
        return load_source(str(tmp_path / "given.onnx"))

    return make


@pytest.mark.parametrize(("given", "asked", "expected"), [(15, 20, 15), (11, 17, 13), (20, 17, 17), (20, 20, 20)])
def test_an_onnx_file_is_brought_to_an_opset_the_target_reads(
    convolution: Callable[[int], Source], tmp_path: Path, given: int, asked: int, expected: int
) -> None:
    source = convolution(given)
    graph = capture(source, asked, tmp_path / "m.onnx", {"x_axis0": AxisRange(smallest=1, usual=2, largest=4)})
    assert graph.opset == expected
    assert graph.inputs[0].shape == ("x_axis0", 3, 8, 8)
    assert prove_capture(source, graph, 0)["y"].sqnr_db > 100
    assert [node.op_type for node in onnx.load(graph.path).graph.node] == ["Conv", "Relu"]
    assert b"someone" not in graph.path.read_bytes()


def test_an_onnx_file_that_cannot_be_brought_down_says_so(tmp_path: Path) -> None:
    norm = helper.make_node("LayerNormalization", ["x", "s"], ["y"])
    model = onnx_model(17, [norm], {"s": np.ones(8, np.float32)}, x=[2, 8], y=[2, 8])
    onnx.save(model, tmp_path / "given.onnx")
    with pytest.raises(InputError, match="at ONNX opset 17, the target needs 13"):
        capture(load_source(str(tmp_path / "given.onnx")), 13, tmp_path / "m.onnx", {})


def test_an_opset_that_no_exporter_has_is_refused(residual: Source, tmp_path: Path) -> None:
    with pytest.raises(EdgepressError, match="99"):
        capture(residual, 99, tmp_path / "m.onnx", BATCH)
    assert list(tmp_path.iterdir()) == []


def test_the_graph_runs_as_the_predictor_does(encoder: Source, tmp_path: Path) -> None:
    graph = capture(encoder, 20, tmp_path / "m.onnx", TOKENS)
    session = onnxruntime.InferenceSession(str(graph.path), providers=["CPUExecutionProvider"])
    expected = torch_predict(encoder)(encoder.inputs)
    for one, name in zip(session.run(list(expected), encoder.inputs), expected, strict=True):
        np.testing.assert_allclose(one, expected[name], atol=1e-5)


class Either(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.one, self.other = nn.Linear(16, 4), nn.Linear(16, 4)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        chosen: torch.Tensor = torch.cond(x.sum() > 0, lambda y: self.one(y), lambda y: self.other(y), (x,))
        return chosen


def test_a_branch_on_values_by_torch_cond(tmp_path: Path) -> None:
    torch.manual_seed(0)
    source = source_from_object(Either().eval(), {"x": torch.randn(2, 16)}, name="either", dynamic={"x": {0: "batch"}})
    graph = capture(source, 20, tmp_path / "model.onnx", BATCH)
    prove_capture(source, graph, seed=0)
    session = onnxruntime.InferenceSession(graph.path, providers=["CPUExecutionProvider"])
    for x in (torch.ones(3, 16), -torch.ones(3, 16)):
        with torch.no_grad():
            np.testing.assert_allclose(session.run(None, {"x": x.numpy()})[0], source.module(x).numpy(), atol=1e-5)
