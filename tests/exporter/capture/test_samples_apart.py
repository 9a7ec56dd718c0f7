"""What one sample is, of real networks: rows that change no other's answer, wherever they lie."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from edgepress.backends.base import SampleAxes
from edgepress.backends.places import Reference
from edgepress.exporter.capture.capture import capture
from edgepress.exporter.capture.samples_apart import with_samples
from edgepress.exporter.sources import source_from_object


class Recurrent(nn.Module):
    """Steps of time first, as nn.GRU has them."""

    def __init__(self) -> None:
        super().__init__()
        self.layer, self.last = nn.GRU(8, 16), nn.Linear(16, 4)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.last(self.layer(x)[0])


class Filter(nn.Module):
    """The same of a convolution, whose steps may be any number."""

    def __init__(self, batched: bool = True) -> None:
        super().__init__()
        self.layer, self.batched = nn.Conv1d(8, 4, 3, padding=1), batched

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.layer(x.permute(1, 2, 0)).permute(2, 0, 1)
        return y if self.batched else y.squeeze(1)


class OfGraphs(nn.Module):
    """One pass of messages, then a class of each node, or of them all."""

    def __init__(self, pooled: bool = False) -> None:
        super().__init__()
        self.first, self.last, self.pooled = nn.Linear(8, 16), nn.Linear(16, 4), pooled

    def forward(self, x: torch.Tensor, edges: torch.Tensor) -> torch.Tensor:
        y = torch.relu(self.first(x))
        y = y + torch.zeros_like(y).index_add(0, edges[1], y[edges[0]])
        return self.last(y.mean(0) if self.pooled else y)


class Dense(nn.Module):
    """The same of all nodes by a matrix of who neighbours whom, which has their axis twice."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(8, 4)

    def forward(self, x: torch.Tensor, near: torch.Tensor) -> torch.Tensor:
        return self.layer(near @ x)


class Pictures(nn.Module):
    """Pictures seen by one camera, whose matrix and temperature belong to all of them."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.last = nn.Conv2d(3, 8, 3), nn.Linear(8, 3)

    def forward(self, camera: torch.Tensor, picture: torch.Tensor, scale: torch.Tensor) -> torch.Tensor:
        return self.last(torch.relu(self.conv(picture)).mean((2, 3))) @ camera * scale


class Gallery(nn.Module):
    """How alike each query is to each of a gallery."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(8, 4)

    def forward(self, gallery: torch.Tensor, query: torch.Tensor) -> torch.Tensor:
        return self.layer(query) @ self.layer(gallery).T


class Points(nn.Module):
    """A cloud without a batch: the largest of all points goes back to each."""

    def __init__(self, pooled: bool) -> None:
        super().__init__()
        self.first, self.last, self.pooled = nn.Linear(3, 8), nn.Linear(8, 4), pooled

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = torch.relu(self.first(x))
        most = y.amax(0, keepdim=True)
        return self.last(most[0] if self.pooled else y + most)


class Steps(nn.Module):
    """A causal filter along the first of two axes."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.relu(x + torch.nn.functional.pad(x, (0, 0, 1, 0))[:-1]) * 2


def plain() -> nn.Module:
    return nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, 4))


def images(*shape: int) -> torch.Tensor:
    return torch.rand(shape, generator=torch.Generator().manual_seed(0))


EDGES = torch.tensor([[0, 1, 2, 3, 4, 5, 6], [1, 2, 3, 4, 5, 6, 0]])


@pytest.mark.parametrize(
    ("model", "inputs", "dynamic", "given", "gives"),
    [
        (plain, {"input": images(3, 8)}, {"input": {0: "n"}}, {"input": 0}, {"output": 0}),
        (plain, {"input": images(4, 8)}, {}, {"input": 0}, {"output": 0}),
        (plain, {"input": images(1, 8)}, {}, {}, {}),
        (Filter, {"x": images(9, 3, 8)}, {"x": {0: "t", 1: "n"}}, {"x": 1}, {"output": 1}),
        (Filter, {"x": images(9, 3, 8)}, {"x": {0: "steps", 1: "batch"}}, {"x": 1}, {"output": 1}),
        (Recurrent, {"x": images(9, 3, 8)}, {"x": {1: "n"}}, {"x": 1}, {"output": 1}),
        (Filter, {"x": images(9, 3, 8)}, {"x": {0: "t"}}, {"x": 1}, {"output": 1}),
        (Recurrent, {"x": images(9, 3, 8)}, {}, {"x": 1}, {"output": 1}),
        (Filter, {"x": images(9, 1, 8)}, {"x": {0: "t"}}, {}, {}),
        (Recurrent, {"x": images(9, 1, 8)}, {}, {}, {}),
        (lambda: Filter(False), {"x": images(9, 1, 8)}, {"x": {0: "batch"}}, {}, {}),  # called so, and is none
        (Steps, {"x": images(9, 8)}, {"x": {0: "n"}}, {}, {}),
        (Steps, {"x": images(2, 8)}, {}, {}, {}),
        (OfGraphs, {"x": images(7, 8), "edges": EDGES}, {"x": {0: "n"}, "edges": {1: "e"}}, {}, {}),
        (OfGraphs, {"x": images(7, 8), "edges": EDGES}, {"x": {0: "n"}}, {}, {}),
        (OfGraphs, {"x": images(7, 8), "edges": EDGES}, {}, {}, {}),
        (lambda: OfGraphs(True), {"x": images(7, 8), "edges": EDGES}, {"x": {0: "n"}}, {}, {}),
        (Dense, {"x": images(7, 8), "near": images(7, 7)}, {"x": {0: "n"}, "near": {0: "n", 1: "n"}}, {}, {}),
        (
            Pictures,
            {"camera": images(3, 3), "picture": images(4, 3, 8, 8), "scale": torch.tensor(0.5)},
            {"picture": {0: "n"}},
            {"picture": 0},
            {"output": 0},
        ),
        (
            Pictures,
            {"camera": images(3, 3), "picture": images(4, 3, 8, 8), "scale": torch.tensor(0.5)},
            {},
            {"picture": 0},
            {"output": 0},
        ),
        (
            Gallery,
            {"gallery": images(10, 8), "query": images(4, 8)},
            {"gallery": {0: "g"}, "query": {0: "q"}},
            {},
            {},
        ),
        (lambda: Points(False), {"x": images(9, 3)}, {"x": {0: "points"}}, {}, {}),
        (lambda: Points(True), {"x": images(9, 3)}, {"x": {0: "points"}}, {}, {}),
        (lambda: Points(True), {"x": images(9, 3)}, {}, {}, {}),
    ],
)
def test_where_the_samples_of_a_network_lie(model, inputs, dynamic, given, gives, tmp_path: Path) -> None:
    torch.manual_seed(0)
    source = source_from_object(model().eval(), inputs, dynamic=dynamic)
    graph = capture(source, 20, tmp_path / "model.onnx", source.ranges)
    with Reference().values(graph.path) as run:
        assert with_samples(graph, source, 0, run).samples == SampleAxes(inputs=given, outputs=gives)


@pytest.mark.parametrize(("called", "samples"), [("batch", {"input": 0}), ("n", {})])
def test_what_does_not_run_is_believed_where_it_is_called_a_batch(called, samples, tmp_path: Path) -> None:
    def fails(feed: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        raise RuntimeError("Reshape: only batches of 3")

    source = source_from_object(plain().eval(), {"input": images(3, 8)}, dynamic={"input": {0: called}})
    graph = capture(source, 20, tmp_path / "model.onnx", source.ranges)
    assert with_samples(graph, source, 0, fails).samples.inputs == samples


@pytest.mark.parametrize("called", ["batch", "n"])
def test_rows_of_an_example_of_zeros_are_what_its_shapes_say(called: str, tmp_path: Path) -> None:
    """All rows are the same, and none changes another."""
    source = source_from_object(plain().eval(), {"input": torch.zeros(3, 8)}, dynamic={"input": {0: called}})
    graph = capture(source, 20, tmp_path / "model.onnx", source.ranges)
    with Reference().values(graph.path) as run:
        assert with_samples(graph, source, 0, run).samples.inputs == {"input": 0}
