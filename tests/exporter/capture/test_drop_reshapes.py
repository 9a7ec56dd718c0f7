from __future__ import annotations

from pathlib import Path

import onnx
import pytest
import torch
from torch import nn

from edgepress.backends.base import AxisRange
from edgepress.exporter.capture.capture import capture
from edgepress.exporter.capture.proof import prove_capture
from edgepress.exporter.sources import source_from_object

BATCH = {"batch": AxisRange(smallest=1, usual=2, largest=32)}


class Rows(nn.Module):
    """A sum that is made rows of and back, read in between or not, and rows that become something else."""

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, ...]:
        rows = x.sin().flatten(0, 1)
        read = x.cos().flatten(0, 1)
        others = x.tan().flatten(0, 1).reshape(x.shape[0], x.shape[2], x.shape[1])
        return rows.reshape_as(x), read.reshape_as(x) + 1, read.exp(), others


def test_what_is_reshaped_back_is_not_reshaped(tmp_path: Path) -> None:
    example = torch.randn(2, 7, 8, generator=torch.Generator().manual_seed(1))
    source = source_from_object(Rows().eval(), {"x": example}, dynamic={"x": {0: "batch"}})
    graph = capture(source, 20, tmp_path / "model.onnx", BATCH)
    nodes = {node.output[0]: node for node in onnx.load(graph.path).graph.node}
    back, summed, read, others = (nodes[value.name] for value in graph.outputs)
    assert back.op_type == "Sin"
    assert nodes[summed.input[0]].op_type == "Cos"
    assert nodes[read.input[0]].op_type == "Reshape"
    assert others.op_type == "Reshape"
    assert all(found.sqnr_db > 100 for found in prove_capture(source, graph, 0).values())


class Normed(nn.Module):
    """A norm over the rows of a linear layer, as a LeViT has it."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.layer, self.norm = nn.Linear(8, 6, bias=False), nn.BatchNorm1d(6)
        nn.init.uniform_(self.norm.running_mean, -1, 1)
        nn.init.uniform_(self.norm.running_var, 0.2, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.layer(x)
        return self.norm(y.flatten(0, 1)).reshape_as(y).sin()


@pytest.mark.parametrize("tracing", [False, True])
def test_what_is_left_of_a_norm_over_rows_is_its_layer(tmp_path: Path, tracing: bool) -> None:
    """The tracing exporter knows none of the sizes, and asks for a shape to give it back."""
    example = torch.randn(2, 7, 8, generator=torch.Generator().manual_seed(1))
    source = source_from_object(Normed().eval(), {"x": example}, dynamic={"x": {0: "batch", 1: "tokens"}})
    axes = {**BATCH, "tokens": AxisRange(smallest=1, usual=7, largest=32)}
    graph = capture(source, 20, tmp_path / "model.onnx", axes, tracing=tracing)
    assert [node.op_type for node in onnx.load(graph.path).graph.node] == ["MatMul", "Add", "Sin"]
    assert all(found.sqnr_db > 100 for found in prove_capture(source, graph, 0).values())


class Untouched(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x.flatten(0, 1).reshape_as(x)


def test_an_output_that_is_the_input_has_a_name_of_its_own(tmp_path: Path) -> None:
    source = source_from_object(Untouched(), {"x": torch.randn(2, 7, 8)}, dynamic={"x": {0: "batch"}})
    graph = capture(source, 20, tmp_path / "model.onnx", BATCH)
    assert [value.name for value in (*graph.inputs, *graph.outputs)] == ["x", "output"]
    assert all(found.sqnr_db > 100 for found in prove_capture(source, graph, 0).values())
