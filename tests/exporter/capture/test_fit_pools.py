from __future__ import annotations

from pathlib import Path

import onnx
import torch
from torch import nn

from edgepress.backends.base import AxisRange
from edgepress.backends.places import Local
from edgepress.exporter.capture.capture import capture
from edgepress.exporter.capture.proof import prove_capture
from edgepress.exporter.sources import source_from_object
from edgepress.profiles.device.target import load_target

BATCH = {"batch": AxisRange(smallest=1, usual=2, largest=32)}


class Pools(nn.Module):
    """Larger than the picture in both directions, or in one; with windows that begin inside, and ones that do not."""

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, ...]:
        f = nn.functional
        return (
            f.avg_pool2d(x, 64, ceil_mode=True),
            f.max_pool2d(x, (9, 2), ceil_mode=True),
            f.avg_pool2d(x, (9, 3), stride=(7, 2), ceil_mode=True),
            f.avg_pool2d(x, 3, stride=2, padding=1, ceil_mode=True),
        )


def test_a_pool_is_no_larger_than_its_picture(tmp_path: Path) -> None:
    """OpenVINO takes it then, and all of them pool what torch pools."""
    example = torch.randn(2, 3, 6, 5, generator=torch.Generator().manual_seed(1))
    source = source_from_object(Pools(), {"x": example}, dynamic={"x": {0: "batch"}})
    graph = capture(source, 20, tmp_path / "model.onnx", BATCH)
    nodes = onnx.load(graph.path).graph.node
    kernels = [tuple(a.ints) for node in nodes for a in node.attribute if a.name == "kernel_shape"]
    assert sorted(kernels) == [(3, 3), (6, 2), (6, 3), (6, 5)]
    assert all(found.sqnr_db > 100 for found in prove_capture(source, graph, 0).values())
    assert Local().check(graph, load_target("cpu")) == ()
