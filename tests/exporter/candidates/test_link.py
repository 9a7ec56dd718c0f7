"""What an engine must reach, by what its graph reaches and what was asked."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from edgepress.backends.base import Array, Feed, Graph, Session
from edgepress.backends.places import Reference
from edgepress.exporter.candidates.candidate import Candidate
from edgepress.exporter.candidates.link import StrayingError, least_db, linked
from edgepress.exporter.candidates.samples import JudgingSamples
from edgepress.profiles.device.target import load_target
from edgepress.profiles.findings.parity import parity


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


def test_an_engine_near_its_graph_that_misses_what_was_asked_is_not_said_to_be_wrong() -> None:
    expected = {"y": np.arange(1, 9, dtype=np.float32).reshape(2, 4)}
    samples = JudgingSamples(
        feeds=[{"x": np.zeros((2, 1), np.float32)}], kind="calibration samples", expected=[expected]
    )
    file = Graph(path=Path("model.onnx"), inputs=(), outputs=(), opset=20, digest="")
    graph = parity([expected], [{"y": 1.15 * expected["y"]}])
    candidate = Candidate(precision="int8", graph=file, least_db=15, on_samples=graph)
    with pytest.raises(StrayingError, match=r"does not reach what was asked.*14\.0 dB.*16\.5 dB.*no margin"):
        linked(candidate, Off(), samples, Reference(), load_target("cpu"), 15)


@pytest.mark.parametrize(("precision", "wrongly"), [("int8", True), ("fp32", True), ("bf16", False)])
def test_an_engine_that_rounds_by_itself_is_not_said_to_be_wrong(precision: str, wrongly: bool) -> None:
    expected = {"y": np.arange(1, 9, dtype=np.float32).reshape(2, 4)}
    samples = JudgingSamples(
        feeds=[{"x": np.zeros((2, 1), np.float32)}], kind="calibration samples", expected=[expected]
    )
    file = Graph(path=Path("model.onnx"), inputs=(), outputs=(), opset=20, digest="")
    exact = parity([expected], [expected])
    candidate = Candidate(precision=precision, graph=file, least_db=25, on_samples=exact)
    target = load_target("cpu")
    with pytest.raises(StrayingError, match=r"output 'y' has 14\.0 dB") as caught:
        linked(candidate, Off(), samples, Reference(), target, 25)
    assert ("read or fused the graph wrongly" in caught.value.message) == wrongly
    assert caught.value.candidate is candidate


class Off(Session):
    """What is a fifth too much."""

    def __call__(self, feed: Feed) -> dict[str, Array]:
        return {"y": 1.2 * np.arange(1, 9, dtype=np.float32).reshape(2, 4)}
