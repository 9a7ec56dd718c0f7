"""What an engine must reach, by what its graph reaches and what was asked."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from edgepress.backends.base import Array, Feed, Graph, SampleAxes, Session
from edgepress.backends.places import Reference
from edgepress.errors import VerificationError
from edgepress.exporter.candidates.candidate import Candidate
from edgepress.exporter.candidates.judge import check_golden, judged
from edgepress.exporter.candidates.third_link.link import StrayingError, graph_held, least_db, linked
from edgepress.exporter.capture.golden import Golden
from edgepress.exporter.quantization.judging import JudgingSamples
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
        feeds=[{"x": np.zeros((2, 1), np.float32)}],
        kind="calibration samples",
        expected=[expected],
        along=SampleAxes(inputs={"x": 0}),
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
        feeds=[{"x": np.zeros((2, 1), np.float32)}],
        kind="calibration samples",
        expected=[expected],
        along=SampleAxes(inputs={"x": 0}),
    )
    file = Graph(path=Path("model.onnx"), inputs=(), outputs=(), opset=20, digest="")
    exact = parity([expected], [expected])
    candidate = Candidate(precision=precision, graph=file, least_db=25, on_samples=exact)
    target = load_target("cpu")
    with pytest.raises(StrayingError, match=r"output 'y' has 14\.0 dB") as caught:
        linked(candidate, Off(), samples, Reference(), target, 25)
    assert ("read or fused the graph wrongly" in caught.value.message) == wrongly
    assert caught.value.candidate is candidate


def few_large() -> dict[str, Array]:
    """Samples, of which six of 32 hold the signal."""
    right = np.ones((32, 4), np.float32)
    right[:6] = 100
    return {"y": right}


class OffBySmall(Session):
    """Good on what is large alone: 38 dB, of which 18 are sure of others."""

    def __call__(self, feed: Feed) -> dict[str, Array]:
        right = few_large()["y"]
        return {"y": right * 1.01 + 0.1 * (right < 2)}


SAMPLES = JudgingSamples(
    feeds=[{"x": np.zeros((32, 1), np.float32)}],
    kind="calibration samples",
    expected=[few_large()],
    along=SampleAxes(inputs={"x": 0}),
    by_sample={"y": 0},
)
FILE = Graph(path=Path("model.onnx"), inputs=(), outputs=(), opset=20, digest="")


def test_a_graph_of_a_half_precision_is_held_to_its_figure_alone() -> None:
    candidate = Candidate(precision="fp16", graph=FILE, least_db=30)
    held = graph_held(candidate, OffBySmall(), SAMPLES, 30, str).on_samples["y"]
    assert held.sqnr_db > 30 > held.assured_db
    told = rf"output 'y' has {held.sqnr_db:.1f} dB of SQNR against FP32 \(45 dB needed\)\. There\."
    with pytest.raises(VerificationError, match=told):
        graph_held(candidate, OffBySmall(), SAMPLES, 45, lambda: " There.")


def test_what_is_sure_of_others_is_not_told_as_the_figure() -> None:
    exact = SAMPLES.compare(SAMPLES.expected, FILE)
    candidate = Candidate(precision="int8", graph=FILE, least_db=10, on_samples=exact)
    with pytest.raises(StrayingError, match=r"'y', as far as is sure of others like them, has 19\.\d dB") as caught:
        linked(candidate, OffBySmall(), SAMPLES, Reference(), load_target("cpu"), 10)
    assert "on 32 calibration samples" in caught.value.message


class Off(Session):
    """What is a fifth too much."""

    def __call__(self, feed: Feed) -> dict[str, Array]:
        return {"y": 1.2 * np.arange(1, 9, dtype=np.float32).reshape(2, 4)}


def test_places_are_judged_by_how_many_agree_and_told_so() -> None:
    """Of 2000 places 30 differ: 98.5 %, which was called 18.2 dB of SQNR, with the largest difference of places."""
    places = np.arange(2000, dtype=np.int64).reshape(500, 4)
    off = places.copy()
    off[:30, 0] += 3
    samples = JudgingSamples(feeds=[{"x": np.zeros((500, 1), np.float32)}], kind="samples", expected=[{"y": places}])
    candidate = Candidate(precision="fp16", graph=FILE, least_db=30)

    class Ties(Session):
        def __call__(self, feed: Feed) -> dict[str, Array]:
            return {"y": off}

    with pytest.raises(VerificationError, match=r"'y' has 98\.5% agreement against FP32 \(99\.00% agreement needed\)"):
        graph_held(candidate, Ties(), samples, 30, str)
    with pytest.raises(VerificationError, match=r"98\.5% agreement of its classes or places") as caught:
        check_golden(Golden(feeds=({},), outputs=({"y": places},)), ({"y": off},), 30)
    assert "choose outside of the model" in (caught.value.hint or "")
    assert graph_held(candidate, Ties(), samples, 20, str).on_samples["y"].max_abs == 3


def test_what_float_misses_is_not_to_be_mended_by_calibration_data() -> None:
    right = {"y": np.arange(1, 9, dtype=np.float32).reshape(2, 4)}
    golden, answers = Golden(feeds=({},), outputs=(right,)), ({"y": right["y"] * 1.2},)
    for precision, told in (("fp32", "another target"), ("int8", "more calibration data")):
        candidate = Candidate(precision=precision, graph=FILE, least_db=60)
        with pytest.raises(VerificationError, match="golden inputs ask for") as caught:
            judged(candidate, golden, answers, Reference(), load_target("cpu"))
        assert told in (caught.value.hint or "")
