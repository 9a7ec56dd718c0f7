"""Is B faster: the statistics, on noise that is worse than that of a busy machine, and the rules of a claim."""

from __future__ import annotations

import math

import numpy as np
import pytest

from edgepress.profiles.timing.measurement import Measurement
from edgepress.profiles.timing.ratio import _student
from edgepress.profiles.timing.turns import (
    LEAST_PAIRS,
    Turns,
    compare_apart,
    compare_turns,
    half_width,
    standard_error,
)

MS = 1_000_000


def pair(rng: np.random.Generator, ratio: float, *, turns: int = 200, process: float = 0.003) -> Turns:
    """Turns of three calls on a busy machine that drifts; B takes `ratio` times as long, up to its process's luck."""
    drift = 1 + 0.5 * np.sin(np.arange(turns) / 15 + rng.uniform(0, 6))
    arms = []
    for factor in (1.0, ratio):
        luck = rng.normal(1, process)
        calls = factor * luck * drift[:, None] * rng.normal(1, 0.08, (turns, 3))
        calls += (rng.random((turns, 3)) < 0.15) * rng.exponential(3, (turns, 3))  # waits for the core
        arms.append(tuple(tuple(int(x * MS) for x in turn) for turn in np.maximum(calls, 0.1)))
    return Turns(a=arms[0], b=arms[1])


def compared(seed: int, ratio: float, pairs: int = 6) -> list[Turns]:
    rng = np.random.default_rng(seed)
    return [pair(rng, ratio) for _ in range(pairs)]


def test_the_same_engine_twice_is_seldom_called_different() -> None:
    verdicts = [compare_turns(compared(seed, 1.0)).verdict for seed in range(100)]
    assert verdicts.count("no difference shown") >= 98


@pytest.mark.parametrize(("ratio", "verdict"), [(1.05, "slower"), (1 / 1.05, "faster")])
def test_five_percent_more_work_is_found(ratio: float, verdict: str) -> None:
    verdicts = [compare_turns(compared(seed, ratio)).verdict for seed in range(100, 140)]
    assert verdicts.count(verdict) >= 38
    assert set(verdicts) <= {verdict, "no difference shown"}


@pytest.mark.parametrize("ratio", [0.5, 1.0, 1.05, 2.0])
def test_the_interval_covers_the_ratio_as_often_as_it_says(ratio: float) -> None:
    """Without waits, which are as long for both and so belong to neither's latency; processes differ by 2 %."""

    def clean(rng: np.random.Generator) -> Turns:
        luck = rng.normal(0, 0.02, 2)
        noise = np.exp(luck[:, None, None] + rng.normal(0, 0.05, (2, 60, 3))) * [[[1.0]], [[ratio]]]
        a, b = (tuple(tuple(map(int, turn * MS)) for turn in arm) for arm in noise)
        return Turns(a=a, b=b)

    covered = 0
    for seed in range(200):
        rng = np.random.default_rng(seed)
        found = compare_turns([clean(rng) for _ in range(5)]).ratio
        covered += found.low <= 1 / ratio <= found.high
    assert covered >= 184  # 92 %: four standard errors below 95 % would be 178


def test_a_drift_of_the_machine_cancels_in_abba_order() -> None:
    """Every turn is 1 % slower than the one before it; the two arms are equal."""
    level = iter(1.01 ** np.arange(80))
    a: list[tuple[int, ...]] = []
    b: list[tuple[int, ...]] = []
    for turn in range(40):
        for arm in (a, b) if turn % 2 == 0 else (b, a):
            arm.append((int(MS * next(level)),) * 3)
    assert abs(Turns(a=tuple(a), b=tuple(b)).center()) < 1e-3


def test_a_difference_below_two_percent_is_not_claimed_however_sure() -> None:
    sure = [Turns(a=((1000 * MS,),) * 20, b=((1000 * MS + step * MS + 15 * MS,),) * 20) for step in range(6)]
    found = compare_turns(sure)
    assert found.ratio.high < 1
    assert found.verdict == "no difference shown"


def test_too_few_processes_or_an_unfinished_run_claim_nothing() -> None:
    pairs = compared(3, 2.0)
    assert compare_turns(pairs).verdict == "slower"
    assert compare_turns(pairs[: LEAST_PAIRS - 1]).verdict == "no difference shown"
    assert compare_turns(pairs, unfinished="it crashed").verdict == "no difference shown"
    assert compare_turns(pairs).ratio == compare_turns(pairs).ratio  # the bootstrap is seeded


def test_more_pairs_narrow_the_interval() -> None:
    pairs = compared(5, 1.05, 12)
    assert half_width(pairs) < half_width(pairs[:5])


def test_the_standard_error_is_that_of_the_median() -> None:
    rng = np.random.default_rng(0)
    noise = [[tuple(map(int, 1e9 * np.exp(rng.normal(0, 0.1, 1)))) for _ in range(400)] for _ in range(400)]
    centers = [Turns(a=tuple(turns[:200]), b=tuple(turns[200:])).center() for turns in noise]
    said = np.mean([standard_error(turns[:200], turns[200:]) for turns in noise])
    assert said == pytest.approx(np.std(centers), rel=0.1)


@pytest.mark.parametrize(("freedom", "quantile"), [(4, 2.776), (5, 2.571), (7, 2.365), (9, 2.262), (19, 2.093)])
def test_students_quantiles(freedom: int, quantile: float) -> None:
    assert _student(freedom) == pytest.approx(quantile, abs=1e-3)


def stored(level: float, seed: int, rounds: int = 40) -> Measurement:
    rng = np.random.default_rng(seed)
    samples = tuple(int(MS * x) for x in level * rng.normal(1, 0.05, rounds * 20))
    return Measurement(samples=samples, rounds=tuple(i // 20 for i in range(rounds * 20)), stable=True)


def test_measurements_apart_are_compared_and_said_to_be_weaker() -> None:
    found = compare_apart([stored(1.0, 0)], [stored(1.2, 1)], "an hour lies between them")
    assert found.verdict == "slower"
    assert found.ratio.low < 1 / 1.2 < found.ratio.high
    assert found.weaker == "an hour lies between them"
    several = compare_apart([stored(1.0, s) for s in range(5)], [stored(0.8, s) for s in range(5, 10)], "x")
    assert several.verdict == "faster"
    assert math.isclose(several.ratio.value, 1.25, rel_tol=0.02)
    assert compare_apart([stored(1.0, 0)], [stored(1.0, 1)], "x").verdict == "no difference shown"
