"""What is refused is refused for its true reason, with what to do."""

from __future__ import annotations

from pathlib import Path

import onnx
import pytest
import torch
from onnx import TensorProto, helper
from torch import nn

import edgepress
from edgepress.backends.base import AxisRange
from edgepress.backends.places import Reference
from edgepress.errors import EdgepressError, InputError
from edgepress.exporter.capture.capture import capture
from edgepress.exporter.graphs.files import read_graph
from edgepress.exporter.sources import load_source, source_from_object

VALUE = helper.make_tensor_value_info
ENDS = [VALUE("x", TensorProto.FLOAT, [3]), VALUE("y", TensorProto.FLOAT, [3])]


def written(
    path: Path, node: onnx.NodeProto, ends: list[onnx.ValueInfoProto], domain: str = "", opset: int = 17
) -> Path:
    graph = helper.make_graph([node], "refused", ends[:-1], ends[-1:])
    opsets = [helper.make_opsetid(domain, opset)]
    path.write_bytes(helper.make_model(graph, opset_imports=opsets, ir_version=8).SerializeToString())
    return path


def test_what_is_no_tensor_is_said(tmp_path: Path) -> None:
    parts = helper.make_value_info("s", helper.make_sequence_type_proto(helper.make_tensor_type_proto(1, [3])))
    path = written(tmp_path / "m.onnx", helper.make_node("ConcatFromSequence", ["s"], ["y"], axis=0), [parts, ENDS[1]])
    with pytest.raises(EdgepressError, match="'s' is not a tensor of known rank, but a sequence"):
        read_graph(path)


def test_text_is_called_so(tmp_path: Path) -> None:
    ends = [VALUE("x", TensorProto.STRING, [3]), VALUE("y", TensorProto.STRING, [3])]
    path = written(tmp_path / "m.onnx", helper.make_node("Identity", ["x"], ["y"]), ends)
    with pytest.raises(EdgepressError, match="Input 'x' is text; expected a float, integer or boolean tensor"):
        load_source(str(path))


def test_a_graph_of_another_domain_alone_names_it(tmp_path: Path) -> None:
    node = helper.make_node("Binarizer", ["x"], ["y"], threshold=0.5, domain="ai.onnx.ml")
    path = written(tmp_path / "m.onnx", node, ENDS, "ai.onnx.ml", 3)
    with pytest.raises(EdgepressError, match=r"no opset of the ONNX operators, only of ai\.onnx\.ml"):
        load_source(str(path))


def test_a_runtime_too_old_for_the_file_asks_for_an_older_opset(tmp_path: Path) -> None:
    path = written(tmp_path / "m.onnx", helper.make_node("Relu", ["x"], ["y"]), ENDS)
    model = onnx.load(path)
    model.ir_version = 99
    path.write_bytes(model.SerializeToString())
    with pytest.raises(EdgepressError, match=r"does not load m\.onnx: Unsupported model IR version: 99") as raised:
        Reference().values(path)
    assert raised.value.hint == "Export the model at an older opset."


def test_a_kernel_that_is_not_there_is_told_without_sources_and_codes(tmp_path: Path) -> None:
    ends = [VALUE(name, TensorProto.UINT16, [3]) for name in ("x", "n", "y")]
    path = written(
        tmp_path / "m.onnx", helper.make_node("BitShift", ["x", "n"], ["y"], "shift", direction="LEFT"), ends
    )
    with pytest.raises(EdgepressError) as raised:
        Reference().values(path)
    assert str(raised.value).startswith(
        "onnxruntime does not load m.onnx: Could not find an implementation for BitShift(11) node with name 'shift'"
    )


@pytest.mark.parametrize("opset", [17, 20])
def test_an_lstm_with_a_projection_is_named(tmp_path: Path, opset: int) -> None:
    model = nn.Sequential(nn.LSTM(8, 6, batch_first=True, proj_size=3))
    source = source_from_object(model.eval(), {"input": torch.rand(2, 5, 8)}, name="net")
    with pytest.raises(InputError, match="0 is an LSTM with proj_size=3") as caught:
        capture(source, opset, tmp_path / "model.onnx", {})
    assert "without proj_size" in caught.value.hint


class Edges(nn.Module):
    """A network of a graph: edges are two rows of numbers of nodes."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.first, self.head = nn.Linear(6, 16), nn.Linear(16, 3)

    def forward(self, x: torch.Tensor, edges: torch.Tensor) -> torch.Tensor:
        seen = torch.relu(self.first(x))
        return self.head(seen + torch.zeros_like(seen).index_add(0, edges[1], seen[edges[0]]))


def test_numbers_of_nodes_beyond_a_smaller_graph_are_told_with_the_axis_that_goes(tmp_path: Path) -> None:
    generator = torch.Generator().manual_seed(0)
    x, edges = torch.randn(12, 6, generator=generator), torch.randint(0, 12, (2, 30), generator=generator)
    free = {"x": {0: "nodes"}, "edges": {1: "count"}}
    options = {"target": "server-cpu", "precision": "fp32", "measure": False, "output": tmp_path, "dynamic": free}
    with pytest.raises(InputError) as refused:
        edgepress.export(Edges().eval(), {"x": x, "edges": edges}, **options)
    told = str(refused.value.hint)
    assert "'edges' is made up of whole numbers up to 11" in told and "--axis nodes=12:12:96" in told
    axes = {"nodes": AxisRange(smallest=12, usual=12, largest=96)}
    edgepress.export(Edges().eval(), {"x": x, "edges": edges}, axes=axes, **options)


def test_what_onnxruntime_does_not_run_is_the_models_fault_and_no_targets(tmp_path: Path) -> None:
    """Every target was said to refuse it, and another one to be a way out."""
    node = helper.make_node("Celsius", ["x"], ["y"], "warm", domain="own")
    graph = helper.make_graph([node], "refused", ENDS[:1], ENDS[1:])
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("own", 1)]
    (tmp_path / "m.onnx").write_bytes(helper.make_model(graph, opset_imports=opsets, ir_version=8).SerializeToString())
    with pytest.raises(edgepress.TargetsError) as raised:
        edgepress.export_all(tmp_path / "m.onnx", targets=("cpu", "server-cpu"), measure=False, output=tmp_path)
    said = str(raised.value)
    assert "cpu, server-cpu: onnxruntime" in said and said.count("warm: onnxruntime has no operator own:Celsius") == 1
    assert "Target cpu" not in said and "choose a target" not in said


class Force(nn.Module):
    """The gradient of an energy."""

    def __init__(self) -> None:
        super().__init__()
        self.energy = nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, 1))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        with torch.enable_grad():
            x = x.detach().requires_grad_()
            return -torch.autograd.grad(self.energy(x).sum(), x)[0]


class Packed(nn.Module):
    """The last states of packed sequences, in both directions."""

    def __init__(self) -> None:
        super().__init__()
        self.cell = nn.LSTM(4, 8, batch_first=True, bidirectional=True)

    def forward(self, x: torch.Tensor, lengths: torch.Tensor) -> torch.Tensor:
        packed = nn.utils.rnn.pack_padded_sequence(x, lengths, batch_first=True, enforce_sorted=False)
        _, (hidden, cells) = self.cell(packed)
        return torch.cat([hidden[0], cells[1]], 1)


@pytest.mark.parametrize(
    ("module", "inputs", "what", "hint"),
    [
        (Force(), {"x": torch.rand(2, 4)}, "asks for a gradient", "as a formula"),
        (Packed(), {"x": torch.rand(2, 5, 4), "lengths": torch.tensor([3, 5])}, "packed sequence", "lengths - 1"),
    ],
    ids=["gradient", "packed"],
)
def test_what_torch_does_not_follow_is_said_in_the_models_words(
    module: nn.Module, inputs: dict[str, torch.Tensor], what: str, hint: str, tmp_path: Path
) -> None:
    source = source_from_object(module.eval(), inputs)
    with pytest.raises(InputError, match=what) as refused:
        capture(source, 20, tmp_path / "model.onnx", {})
    assert hint in str(refused.value.hint)


class Recorded(nn.Module):
    """Samples of sound as a microphone gives them."""

    def forward(self, sound: torch.Tensor) -> torch.Tensor:
        return sound.float() / 32768


def test_a_type_that_tensorrt_does_not_take_is_named_with_its_input(tmp_path: Path) -> None:
    pytest.importorskip("tensorrt_rtx")
    sound = {"sound": torch.randint(-9000, 9000, (2, 40)).to(torch.int16)}
    with pytest.raises(EdgepressError, match="sound: TensorRT takes no int16"):
        edgepress.export(
            Recorded(), sound, target="jetson", precision="fp32", name="recorded", measure=False, output=tmp_path
        )


def test_a_number_among_the_inputs_is_told_what_to_become() -> None:
    with pytest.raises(InputError, match="'scale': float") as refused:
        source_from_object(Recorded(), {"sound": torch.rand(2, 4), "scale": 2.0})
    assert "torch.tensor(2.0)" in str(refused.value.hint)
