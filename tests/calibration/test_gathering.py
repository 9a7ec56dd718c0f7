"""One pass over the data that several use: each gets what it would have got alone."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from edgepress.backends.base import Feed, Graph
from edgepress.calibration.collect import Collected, Gathering, Observed, collect
from edgepress.calibration.statistics import Channels, Statistics, TensorStatistics, narrowed
from edgepress.calibration.workers import gathered_in_processes
from edgepress.errors import InputError
from edgepress.exporter.graphs.files import read_graph

WIDE, NARROW = Channels(axis=1, spread=True), Channels(axis=1, spread=True, squares=False)
EVERYTHING: Observed = {"x": WIDE, "a": WIDE, "root": None, "y": NARROW}


@pytest.fixture
def graph(tmp_path: Path) -> Graph:
    """a = relu(x), root = sqrt(x), which is NaN below 0, and y = a + a."""
    kinds = {name: helper.make_tensor_value_info(name, TensorProto.FLOAT, ("n", 3, 8)) for name in ("x", "y")}
    nodes = [
        helper.make_node("Relu", ["x"], ["a"]),
        helper.make_node("Sqrt", ["x"], ["root"]),
        helper.make_node("Add", ["a", "a"], ["y"]),
    ]
    made = helper.make_model(
        helper.make_graph(nodes, "g", [kinds["x"]], [kinds["y"]]),
        opset_imports=[helper.make_opsetid("", 20)],
        ir_version=10,
    )
    onnx.save(onnx.shape_inference.infer_shapes(made), tmp_path / "model.onnx")
    return read_graph(tmp_path / "model.onnx")


def data(*, positive: bool = True) -> Iterator[Feed]:
    rng = np.random.default_rng(0)
    for index in range(40):
        x = (1 + index) * rng.standard_normal((16, 3, 8)).astype(np.float32)
        yield {"x": np.abs(x) if positive else x}


def after(samples: int, asked: list[int]) -> Callable[[Collected], bool]:
    """Settled at that many samples; notes when it was asked."""

    def settled(collected: Collected) -> bool:
        asked.append(collected.samples)
        return collected.samples >= samples

    return settled


def same(one: Statistics, other: Statistics) -> bool:
    def parts(state: TensorStatistics) -> list[object]:
        channels = state.channels
        kept = [] if channels is None else [channels.total, channels.square, channels.minimum, channels.maximum]
        return [state.count, state.minimum, state.maximum, state.histogram, *kept]

    return (
        (one.samples, one.data, one.converged, one.tensors.keys())
        == (other.samples, other.data, other.converged, other.tensors.keys())
    ) and all(
        len(parts(state)) == len(parts(other.tensors[name]))
        and all(np.array_equal(a, b) for a, b in zip(parts(state), parts(other.tensors[name]), strict=True))
        for name, state in one.tensors.items()
    )


@pytest.mark.parametrize("first", [128, 256, 512, 10**6])
@pytest.mark.parametrize("then", [128, 512, 10**6])
def test_who_asks_first_changes_nothing(graph: Graph, first: int, then: int) -> None:
    shared = Gathering(graph, EVERYTHING, data)
    shared.statistics(EVERYTHING, settled=after(first, []))
    counts: list[int] = []
    found = shared.statistics(EVERYTHING, settled=after(then, counts))
    alone = Gathering(graph, EVERYTHING, data).statistics(EVERYTHING, settled=after(then, []))
    assert same(found, alone)
    assert counts == [count for count in (128, 256, 512) if count / 2 < then]


@pytest.mark.parametrize("settled", [128, 512, 10**6])
@pytest.mark.parametrize(("apart", "most", "batches"), [(32, 256, (2, 18)), (20, 250, (2, 18)), (32, 10**6, (2, 40))])
def test_what_lies_behind_the_first_batches_is_of_the_same_pass(
    graph: Graph, apart: int, most: int, batches: tuple[int, int], settled: int
) -> None:
    begun = 0

    def counted() -> Iterator[Feed]:
        nonlocal begun
        begun += 1
        return data()

    asked: Observed = {"a": NARROW, "x": None}
    shared = Gathering(graph, EVERYTHING, counted, apart, most)
    whole = shared.statistics(EVERYTHING, settled=after(settled, []))
    behind = shared.beyond(asked)
    assert behind is not None
    assert same(behind, collect(graph, asked, lambda: islice(data(), *batches)))
    assert same(whole, collect(graph, EVERYTHING, data, settled=after(settled, [])))
    later = shared.statistics(EVERYTHING, settled=after(512, []))
    assert same(later, collect(graph, EVERYTHING, data, settled=after(512, [])))
    assert begun == 1 if settled == 10**6 else begun <= 3


def test_behind_all_the_data_there_is_nothing(graph: Graph) -> None:
    assert Gathering(graph, EVERYTHING, lambda: islice(data(), 2), 32, 256).beyond(EVERYTHING) is None


def test_less_is_what_a_pass_for_less_gives(graph: Graph) -> None:
    asked: Observed = {"a": NARROW, "x": None, "y": Channels(axis=1, spread=False)}
    assert same(Gathering(graph, EVERYTHING, data).statistics(asked), collect(graph, asked, data))


@pytest.mark.parametrize("workers", [1, pytest.param(2, marks=pytest.mark.slow)])
def test_what_nobody_asked_for_may_be_nan(graph: Graph, workers: int) -> None:
    asked: Observed = {"a": NARROW}

    def negative() -> Iterator[Feed]:
        return data(positive=False)

    if workers == 1:
        shared = Gathering(graph, EVERYTHING, negative)
        found = shared.statistics(asked)
        with pytest.raises(InputError, match=r"'root' became NaN or Inf at calibration sample 0\."):
            shared.statistics({"root": None})
    else:
        found = gathered_in_processes(graph, EVERYTHING, asked, negative, workers).statistics(graph, asked)
        with pytest.raises(InputError, match="'root' became NaN"):
            gathered_in_processes(graph, EVERYTHING, {"root": None}, negative, workers)
    assert same(found, collect(graph, asked, negative))


def test_a_state_is_narrowed_to_nothing_but_what_is_asked() -> None:
    array = np.random.default_rng(0).standard_normal((4, 3, 5)).astype(np.float32)
    wide = TensorStatistics.of(array, WIDE)
    for keep in (None, NARROW, Channels(axis=1, spread=False), WIDE):
        exact, found = TensorStatistics.of(array, keep), narrowed(wide, keep)
        assert (exact.channels is None) == (found.channels is None)
        if exact.channels is not None and found.channels is not None:
            assert exact.channels.square.shape == found.channels.square.shape
            assert exact.channels.minimum.shape == found.channels.minimum.shape
    assert WIDE.covers(NARROW)
    assert not NARROW.covers(WIDE)
    assert NARROW.joined(WIDE) == WIDE
    assert not WIDE.covers(Channels(axis=0, spread=False))
