from __future__ import annotations

from pathlib import Path

import onnx
import torch
from torch import nn
from torch.nn import functional

from edgepress.backends.base import AxisRange
from edgepress.exporter.capture.capture import capture
from edgepress.exporter.capture.proof import prove_capture
from edgepress.exporter.sources import source_from_object

BATCH = {"batch": AxisRange(smallest=1, usual=2, largest=32)}


class Cosines(nn.Module):
    """Similarities to some directions, as cosine attention has them, and a norm that leaves the model expanded."""

    def __init__(self) -> None:
        super().__init__()
        self.directions = nn.Parameter(torch.randn(5, 8, generator=torch.Generator().manual_seed(0)))

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        norms = x.norm(dim=-1, keepdim=True).expand_as(x)
        return functional.normalize(x, dim=-1) @ self.directions.T, norms


def test_only_an_expand_that_arithmetic_repeats_is_left_out(tmp_path: Path) -> None:
    example = torch.randn(2, 7, 8, generator=torch.Generator().manual_seed(1))
    source = source_from_object(Cosines().eval(), {"x": example}, dynamic={"x": {0: "batch"}})
    graph = capture(source, 20, tmp_path / "model.onnx", BATCH)
    nodes = onnx.load(graph.path).graph.node
    (expanded,) = (node for node in nodes if node.op_type == "Expand")
    assert expanded.output[0] == graph.outputs[1].name
    assert "Div" in [node.op_type for node in nodes]
    assert all(found.sqnr_db > 100 for found in prove_capture(source, graph, 0).values())


class Repeated(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        rows = x[:, :, None]
        return rows.expand(-1, 7, 7) + rows.sin().expand(-1, 7, 7)


def test_of_two_that_are_read_together_one_stays(tmp_path: Path) -> None:
    example = torch.randn(2, 7, generator=torch.Generator().manual_seed(1))
    source = source_from_object(Repeated().eval(), {"x": example}, dynamic={"x": {0: "batch"}})
    graph = capture(source, 20, tmp_path / "model.onnx", BATCH)
    assert all(found.sqnr_db > 100 for found in prove_capture(source, graph, 0).values())
