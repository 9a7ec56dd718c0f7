"""Engines that took turns in fresh processes, on this machine, on one that throttles, and with one that is slow."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import pytest

from edgepress.profiles.machine.conditions import Conditions
from edgepress.profiles.timing import in_turn, taking_turns
from edgepress.profiles.timing.in_turn import BESIDE, SAMPLES, Timed, time_in_turn
from edgepress.profiles.timing.measure import CallArm, Settings
from edgepress.profiles.timing.measurement import Measurement
from edgepress.profiles.timing.ratio import speedup
from edgepress.profiles.timing.taking_turns import Limits, Opener, take_turns
from edgepress.profiles.timing.turns import LEAST_PAIRS

CALM = Measurement(samples=(1_000_000,) * 40, rounds=tuple(i // 4 for i in range(40)), stable=True)
BRIEF = Limits(seconds=1.0)


def at(clock: float) -> Conditions:
    return Conditions(date="now", clocks={"cpu0": clock})


def work(size: int, started: list[str] | None = None, name: str = "") -> Opener:
    """Starts an arm whose inference sums so many numbers."""

    @contextmanager
    def start() -> Iterator[CallArm]:
        if started is not None:
            started.append(name)
        yield CallArm(lambda: sum(range(size)))

    return start


@dataclass
class Slow:
    """An engine of 0.3 s on a clock of its own."""

    now: float = 0.0

    @property
    def pid(self) -> int:
        return os.getpid()

    def ready(self) -> None:
        self.now += 1.0

    def warm(self, settings: Settings) -> None:
        self.now += 1.0

    def slice(self, settings: Settings) -> list[int]:
        return self.turn(0, 1)

    def turn(self, settle: int, count: int) -> list[int]:
        self.now += 0.3 * (settle + count)
        return [300_000_000] * count

    @contextmanager
    def start(self) -> Iterator[Slow]:
        yield self


def test_a_throttled_run_is_not_steady() -> None:
    timed = Timed(latency={"engine": CALM}, before=at(2000), after=at(1000))
    assert timed.disturbed == ("the clock of cpu0 fell from 2000 to 1000 MHz",)
    assert not Timed(latency={"engine": CALM}, before=at(2000), after=at(1990)).disturbed


def test_the_machine_is_read_warm_before_the_first_sample_and_after_the_last(monkeypatch: pytest.MonkeyPatch) -> None:
    """The clock of this machine, as if it fell from reading to reading; the inferences are real."""
    clocks = iter(range(2000, 0, -100))
    monkeypatch.setattr(taking_turns, "read_conditions", lambda: at(next(clocks)))
    told: list[float] = []
    found = time_in_turn({"engine": work(20_000)}, told.append, limits=BRIEF)
    assert (found.before.clocks, found.after.clocks) == ({"cpu0": 2000}, {"cpu0": 1100})
    assert not found.latency["engine"].stable
    assert told[-1] == 1.0


@pytest.fixture(scope="module")
def run() -> tuple[list[str], Timed]:
    """Real turns, with a call beside them: in which order engines were started, and what was found."""
    started: list[str] = []
    # Enough turns to tell one from two.
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(taking_turns, "_LEAST_SET", 0.2)
        patch.setattr(in_turn, "BESIDE", Settings(warmup_seconds=0.1, seconds=0.6, samples=BESIDE.samples))
        return started, _timed(started)


def _timed(started: list[str]) -> Timed:
    engines = {"one": work(20_000, started, "one"), "twice": work(40_000, started, "twice")}
    return time_in_turn(engines, beside={"torch": lambda: sum(range(200_000))}, limits=BRIEF)


def test_each_set_is_fresh_and_the_last_begins_every_other_one(run: tuple[list[str], Timed]) -> None:
    assert run[0] == ["one", "twice", "twice", "one", "one", "twice", "twice", "one", "one", "twice"]


def test_rounds_touch_in_time_and_processes_are_told_apart(run: tuple[list[str], Timed]) -> None:
    one, twice = run[1].latency["one"], run[1].latency["twice"]
    assert one.rounds == twice.rounds
    assert sorted(set(one.processes)) == list(range(LEAST_PAIRS))
    assert len(one.samples) == len(one.rounds) == len(one.processes)
    ratio = speedup(twice, one)
    assert 1.7 < ratio.value < 2.4, ratio
    assert ratio.low <= ratio.value <= ratio.high


def test_what_stands_beside_is_timed_in_slices(run: tuple[list[str], Timed]) -> None:
    torch = run[1].latency["torch"]
    assert not torch.processes
    assert len(torch.samples) >= BESIDE.samples


def test_a_slow_engine_ends_with_fewer_samples() -> None:
    slow = Slow()
    sets = list(take_turns([slow.start], Limits(seconds=12.5, samples=SAMPLES), clock=lambda: slow.now))
    assert slow.now <= 3 * 12.5 + 10
    assert len(sets) >= LEAST_PAIRS
    assert 40 <= sum(one.samples(0) for one in sets) < SAMPLES


def test_a_fast_one_goes_on_until_it_has_its_samples() -> None:
    slow = Slow()
    sets = list(take_turns([slow.start], Limits(seconds=12.5, samples=50), clock=lambda: slow.now))
    assert sum(one.samples(0) for one in sets) >= 50
