from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from edgepress import export
from edgepress.backends.base import Graph
from edgepress.errors import VerificationError
from edgepress.exporter.candidates.candidate import Candidate, Refused
from edgepress.exporter.candidates.third_link.link import StrayingError
from edgepress.exporter.candidates.third_link.parting import Parting
from edgepress.exporter.candidates.third_link.remedies import Remedies
from edgepress.exporter.recipe import Recipe


class Turns(nn.Module):
    """Takes the sine of a sine: what the inner one is off in float16 is thirty times as much of an angle."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.first, self.last = nn.Linear(8, 16), nn.Linear(16, 4)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = torch.tanh(self.first(x))
        return self.last(torch.sin(30 * torch.sin(30 * y)))


def test_a_refusal_of_fp16_names_the_first_node_that_falls_short(tmp_path: Path) -> None:
    x = torch.randn(64, 8, generator=torch.Generator().manual_seed(0))
    with pytest.raises(
        VerificationError, match=r"^fp16 does not reach .*The first node below that is '\S*[sS]in\S*' \(Sin"
    ):
        export(
            Turns().eval(), {"x": x[:2]}, target="jetson", precision="fp16", output=tmp_path, name="turns",
            dynamic={"x": {0: "batch"}}, calibration=[{"x": batch.numpy()} for batch in x.split(8)], measure=False,
        )  # fmt: skip
    assert not list(tmp_path.iterdir())


class Masked(nn.Module):
    """Attention with a mask of the lowest number, and behind it what float16 does not tell apart."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.query, self.late = nn.Linear(8, 8), Turns()

    def forward(self, x: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        scores = self.query(x) @ x.transpose(1, 2)
        scores = scores.masked_fill(mask[:, None] == 0, torch.finfo(torch.float32).min)
        return self.late(scores.softmax(-1) @ x)


def test_a_mask_is_no_node_that_falls_short(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    x = rng.normal(size=(8, 8, 6, 8)).astype(np.float32)
    mask = (np.arange(6)[None, None] < rng.integers(2, 7, (8, 8, 1))).astype(np.int64)
    data = [{"x": one, "mask": two} for one, two in zip(x, mask, strict=True)]
    with pytest.raises(VerificationError, match=r"The first node below that is '\S*[sS]in\S*' \(Sin"):
        export(
            Masked().eval(), {name: torch.from_numpy(array[:2]) for name, array in data[0].items()}, target="jetson",
            precision="fp16", output=tmp_path, name="masked", dynamic={"x": {0: "batch"}, "mask": {0: "batch"}},
            calibration=data, measure=False,
        )  # fmt: skip


def test_where_the_graph_falls_short_too_no_place_in_the_engine_is_blamed(tmp_path: Path) -> None:
    """To show a value inside moves the rounding, which looks like a cure."""
    path = tmp_path / "m.onnx"
    graph = Graph(path=path, inputs=(), outputs=(), opset=20, digest="0" * 64)
    candidate = Candidate(precision="fp16", graph=graph, least_db=30)

    def parting(strayed: StrayingError) -> Parting:
        return Parting(node="log", operator="Log", cured=True, regions=())

    remedies = Remedies(recipe=Recipe(), made=lambda recipe: candidate, parting=parting)
    for too_coarse in (True, False):
        found = remedies.of(StrayingError(candidate, "It falls short.", too_coarse=too_coarse))
        assert isinstance(found, Refused)
        assert ("goes away" in found.error.message) is not too_coarse
