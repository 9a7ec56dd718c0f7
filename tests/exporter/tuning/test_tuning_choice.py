"""From results to a decision, and the space they come from."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from edgepress.errors import InputError
from edgepress.exporter.recipe import Recipe
from edgepress.exporter.sources import source_from_object
from edgepress.exporter.tuning.choice import front, nearest, within
from edgepress.exporter.tuning.result import Result, levelled, load_result
from edgepress.exporter.tuning.show import plot, table
from edgepress.exporter.tuning.space import KEPT, space_of
from edgepress.profiles.budget.budget import Budget
from edgepress.profiles.device.target import load_target
from edgepress.profiles.findings.point import SearchPoint, in_words
from edgepress.profiles.timing.measurement import Interval
from edgepress.profiles.timing.ratio import Ratio

BUDGET = Budget.parse({"latency_p50": "1ms", "size": "1kB", "accuracy_drop": "1%"})


def result(
    number: int, ms: float, size: int, metric: float, *, reference: float = 2.0, point: SearchPoint | None = None
) -> Result:
    return Result(
        number=number,
        point=point or {"precision": "int8", "threads": 1, "prune": 10 * number, "ranges": "auto", "kept": 0},
        size=size,
        loss=1.0 - metric,
        metric=metric,
        sqnr_db=20.0,
        latency={50: Interval(value=ms, low=0.9 * ms, high=1.2 * ms)},
        reference=reference,
        faster=Ratio(value=reference / ms, low=reference / ms / 1.1, high=reference / ms * 1.1),
        machine="here",
    )


figures = st.tuples(st.floats(0.1, 10), st.integers(1, 10**6), st.floats(0, 1))


@given(st.lists(figures, min_size=1, max_size=12))
def test_the_front_is_what_no_other_point_beats_in_everything(values: list[tuple[float, int, float]]) -> None:
    results = [result(i, *figures) for i, figures in enumerate(values)]
    best = front(results, timed=True)
    assert best

    def beats(a: Result, b: Result) -> bool:
        x, y = a.values(timed=True), b.values(timed=True)
        return x != y and all(p <= q for p, q in zip(x, y, strict=True))

    for each in results:
        beaten = any(beats(other, each) for other in results)
        twin = any(other.values(timed=True) == each.values(timed=True) for other in best)
        assert beaten != twin


def test_the_cheapest_within_the_budget_is_the_fastest_and_of_equally_fast_ones_the_smallest() -> None:
    fast, small, slow = result(1, 0.50, 900, 1.0), result(2, 0.51, 700, 0.995), result(3, 0.9, 100, 1.0)
    results = [slow, fast, small, result(4, 0.1, 2000, 1.0), result(5, 0.1, 100, 0.98), result(6, 1.1, 100, 1.0)]
    assert within(results, BUDGET, 1.0, timed=True) == [small, fast, slow]
    assert within(results, Budget(), 1.0, timed=False)[0].size == 100


def test_without_a_point_within_the_budget_the_nearest_are_those_that_miss_least() -> None:
    far, near, early = result(1, 0.5, 3000, 1.0), result(2, 1.1, 1000, 1.0), Result(number=3, point={}, early="no")
    assert within([far, near], BUDGET, 1.0, timed=True) == []
    assert nearest([far, early, near], BUDGET, 1.0) == [near, far, early]
    assert near.excess(BUDGET, 1.0) == {"latency": pytest.approx(0.1), "size": 0.0, "drop": 0.0}
    assert result(4, 1.0, 1000, 0.98).excess(BUDGET, 1.0)["drop"] == pytest.approx(1.0)


def test_trials_of_a_slow_moment_compare_with_those_of_a_fast_one() -> None:
    calm, busy = result(1, 0.5, 10, 1.0, reference=2.0), result(2, 2.0, 10, 1.0, reference=8.0)
    even = levelled([calm, busy, result(3, 1.0, 10, 1.0, reference=2.0)])
    assert [r.latency[50].value for r in even if r.latency] == [0.5, 0.5, 1.0]
    assert even[1].latency is not None
    assert even[1].latency[50].low < 0.5 < even[1].latency[50].high


@given(st.floats(0.001, 1e3), st.integers(1, 10**9), st.floats(-1, 1))
def test_a_result_is_stored_and_read_as_it_is(ms: float, size: int, metric: float) -> None:
    found = result(7, ms, size, metric)
    assert load_result(found.dump()) == found
    assert load_result(Result(number=1, point={"precision": "fp32"}, early="x").dump()).early == "x"


def test_the_table_and_the_plot_show_every_point(tmp_path: Path) -> None:
    results = [result(i, 0.3 + 0.1 * i, 1000 - 90 * i, 1 - 0.001 * i) for i in range(6)]
    best = front(results, timed=True)
    console = Console(width=160, record=True, file=(tmp_path / "x").open("w"))
    console.print(table("title", results, results[2]))
    text = console.export_text()
    assert text.count("pruned") == 5
    assert "*" in next(line for line in text.splitlines() if "20 % pruned" in line)
    files = plot(tmp_path / "pareto.svg", "title", results, best, results[2], BUDGET)
    assert [file.name for file in files] == ["pareto.svg", "pareto.png"]
    svg = files[0].read_text()
    assert svg.count("<use") > 6
    for hidden in (str(tmp_path), "localhost"):
        assert hidden not in svg


def _space(base: Recipe, *, target: str = "cpu", layers: int = 12, has_data: bool = True, cores: int = 4):  # type: ignore[no-untyped-def]
    import torch

    net = torch.nn.Sequential(torch.nn.Linear(4, 3))
    source = source_from_object(net, torch.rand(2, 4), calibration=lambda: iter(()), evaluate=lambda predict: 1.0)
    ranking = [f"layer[{i}]" for i in range(layers)]
    return space_of(source, load_target(target), base, ranking=ranking, cores=cores, has_data=has_data, timed=True)


def test_what_the_recipe_fixes_is_not_searched() -> None:
    names = [dimension.name for dimension in _space(Recipe()).dimensions]
    assert names == ["precision", "threads", "prune", "ranges", "kept"]
    fixed = _space(Recipe(precision="int8", threads=2, prune=0.3, ranges="mse"))
    values = {dimension.name: dimension.values for dimension in fixed.dimensions}
    assert values == {"precision": ("int8",), "threads": (2,), "kept": tuple(k for k in KEPT if 2 * k < 12)}
    assert [d.name for d in _space(Recipe(), has_data=False).dimensions] == ["precision", "threads", "prune"]
    with pytest.raises(InputError, match="Nothing to search: the recipe asks for int8"):
        _space(Recipe(precision="int8"), has_data=False)


def test_a_point_becomes_a_recipe() -> None:
    space = _space(Recipe(exclude=("Gemm",)))
    point = {"precision": "int8", "threads": 2, "prune": 40, "ranges": "mse", "kept": 1}
    recipe = space.recipe(Recipe(exclude=("Gemm",)), point)
    assert (recipe.precision, recipe.threads, recipe.prune, recipe.ranges) == ("int8", 2, 0.4, "mse")
    assert recipe.exclude == ("Gemm", "layer[[]0]")
    assert in_words(point) == "int8, 2 threads, 40 % pruned, ranges mse, 1 layer float"
    assert in_words({"precision": "fp32", "threads": 1, "prune": 0}) == "fp32, 1 thread"
    assert space.recipe(Recipe(), space.anchors()[0]) == Recipe(precision="int8", threads=4)


def test_no_point_is_told_twice() -> None:
    points = list(_space(Recipe()).points())
    assert len({tuple(sorted(point.items())) for point in points}) == len(points)
    assert not any("ranges" in point for point in points if point["precision"] == "fp32")


def test_points_are_near_that_differ_by_little() -> None:
    space = _space(Recipe(), cores=2)
    point = {"precision": "int8", "threads": 2, "prune": 40, "ranges": "mse", "kept": 1}
    assert space.distance(point, point) == 0
    near, far = {**point, "prune": 50}, {**point, "prune": 80}
    assert (
        0 < space.distance(point, near) < space.distance(point, far) < space.distance(point, {**point, "ranges": "x"})
    )
    assert space.distance(point, {"precision": "fp32", "threads": 2, "prune": 40}) == 3
