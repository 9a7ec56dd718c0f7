"""A view of memory that changes nothing is none in the graph; any other is what torch computes."""

from __future__ import annotations

from pathlib import Path

import onnx
import pytest
import torch
from torch import nn

from edgepress.backends.base import AxisRange
from edgepress.exporter.capture.capture import capture
from edgepress.exporter.capture.from_torch.row_major import changes_nothing
from edgepress.exporter.capture.proof import prove_capture
from edgepress.exporter.sources import source_from_object


class Pooled(nn.Module):
    """Takes bytes' order, so that its pooling gives a view of `channels_last`."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.pool, self.head = nn.Conv2d(3, 8, 3), nn.AdaptiveAvgPool2d(1), nn.Linear(8, 5)

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        return self.head(self.pool(torch.relu(self.conv(image.permute(0, 3, 1, 2)))).flatten(1))


class Windows(nn.Module):
    """Windows of three that overlap."""

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        return image.contiguous().as_strided((2, 4, 3), (8, 1, 1), 1) * 2


def operators(path: Path) -> set[str]:
    return {node.op_type for node in onnx.load(path).graph.node}


def test_pooling_an_image_in_the_order_of_bytes_is_no_gather(tmp_path: Path) -> None:
    torch.manual_seed(0)
    source = source_from_object(
        Pooled().eval(), {"image": torch.rand(2, 9, 9, 3)}, name="pooled", dynamic={"image": {0: "n"}}
    )
    graph = capture(source, 20, tmp_path / "model.onnx", {"n": AxisRange(smallest=1, usual=2, largest=8)})
    assert operators(graph.path).isdisjoint({"Gather", "Range"})
    (found,) = prove_capture(source, graph, seed=0).values()
    assert found.sqnr_db > 100


def test_a_view_that_overlaps_itself_is_computed(tmp_path: Path) -> None:
    source = source_from_object(Windows().eval(), {"image": torch.rand(2, 8)}, name="windows")
    graph = capture(source, 20, tmp_path / "model.onnx", {})
    assert "Gather" in operators(graph.path)
    (found,) = prove_capture(source, graph, seed=0).values()
    assert found.sqnr_db > 100


@pytest.mark.parametrize(
    ("shape", "size", "stride", "nothing"),
    [
        ((2, 8, 1, 1), (2, 8, 1, 1), (8, 1, 8, 8), True),
        (("n", 8, 1, 1), (object(), 8, 1, 1), (8, 1, 8, 8), True),
        ((2, 3, 4), (2, 3, 4), (12, 4, 1), True),
        ((2, 3, 4), (2, 3, 4), (12, 1, 3), False),  # in another order
        ((2, 3, 4), (2, 3, 2), (12, 4, 1), False),
        ((2, 3, 4), (6, 4), (4, 1), False),
        ((2, "n", 4), (2, object(), 4), (4, 4, 1), False),  # how far the first steps depends on the second
        ((2, 3), (object(), 3), (3, 1), False),
    ],
)
def test_only_the_same_elements_in_the_same_order_are_nothing(shape, size, stride, nothing) -> None:
    assert changes_nothing(shape, size, stride) == nothing
