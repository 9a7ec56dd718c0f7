"""What an engine must reach, by what its graph reaches and what was asked."""

from __future__ import annotations

from pathlib import Path

import pytest

from edgepress.backends.base import Graph
from edgepress.exporter.candidates.candidate import Candidate
from edgepress.exporter.candidates.link import least_db


@pytest.mark.parametrize(
    ("precision", "graph", "asked", "least"),
    [
        ("int8", 31.5, 10.0, 25.5),
        ("int8", 60.0, 10.0, 40.0),
        ("int8", 12.0, 10.0, 10.0),  # rounding explains 6 dB, but 10 were asked of int8
        ("bf16", float("inf"), 25.0, 25.0),  # the reference computes it in float32
        ("fp32", float("inf"), 60.0, 40.0),
    ],
)
def test_rounding_explains_some_and_what_was_asked_stays(
    precision: str, graph: float, asked: float, least: float
) -> None:
    file = Graph(path=Path("model.onnx"), inputs=(), outputs=(), opset=20, digest="")
    candidate = Candidate(precision=precision, graph=file, least_db=asked)
    assert least_db(candidate, graph, asked) == least
