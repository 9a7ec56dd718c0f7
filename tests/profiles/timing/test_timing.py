"""Latencies taken in turn, on a machine that is calm, and on one that throttles."""

from __future__ import annotations

from dataclasses import replace

import pytest

from edgepress.profiles.machine.conditions import Conditions
from edgepress.profiles.timing import in_turn as timing
from edgepress.profiles.timing.in_turn import Timed, time_in_turn
from edgepress.profiles.timing.measurement import Measurement

CALM = Measurement(samples=(1_000_000,) * 40, rounds=tuple(i // 4 for i in range(40)), stable=True)


def at(clock: float) -> Conditions:
    return Conditions(date="now", clocks={"cpu0": clock})


def test_a_look_that_a_disturbed_one_precedes_is_not_steady_either() -> None:
    first = Timed(latency={"engine": CALM, "torch": CALM}, before=at(2000), after=at(2000))
    second = Timed(latency={"engine": CALM}, before=at(1000), after=at(1000))
    both = first.and_then(second)
    assert both.disturbed == ("the clock of cpu0 fell from 2000 to 1000 MHz",)
    assert not any(found.stable for found in both.latency.values())
    assert len(both.latency["engine"].samples) == 80
    assert both.latency["torch"].samples == CALM.samples
    calm = first.and_then(replace(second, before=at(2000), after=at(1990)))
    assert all(found.stable for found in calm.latency.values())


def test_the_machine_is_read_before_the_first_sample_and_after_the_last(monkeypatch: pytest.MonkeyPatch) -> None:
    """The clock of this machine, as if it had fallen; the inferences are real."""
    clocks = iter((2000.0, 1500.0))
    monkeypatch.setattr(timing, "read_conditions", lambda: at(next(clocks)))
    told: list[float] = []
    found = time_in_turn({"engine": lambda: sum(range(20_000))}, told.append)
    assert (found.before.clocks, found.after.clocks) == ({"cpu0": 2000.0}, {"cpu0": 1500.0})
    assert not found.latency["engine"].stable
    assert len(found.latency["engine"].samples) >= 200
    assert told[-1] == 1.0
