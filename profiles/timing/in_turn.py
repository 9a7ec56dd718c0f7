"""Latencies of engines that took turns, with what the machine did meanwhile."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

from ..machine.conditions import Conditions, disturbances
from ..machine.waiting import Waiting
from .measure import Call, Settings, is_steady, measure
from .measurement import Measurement
from .taking_turns import HERE, Limits, Lookout, Now, Opener, TurnsOfSet, take_turns

# An export waits so long for each engine, and takes so many samples of it.
SECONDS, SAMPLES = 12.5, 200
# Engines that take turns wait for each other's last threads: 7 to 9 % of their time on an idle machine of two cores,
# and 75 to 90 % where others want them.
WAITED = 0.25
# What stands beside and decides nothing: how long it takes is known well enough from slices of its own.
BESIDE = Settings(warmup_seconds=1.0, seconds=5.0, samples=50)


@dataclass(frozen=True, slots=True, kw_only=True)
class Timed:
    """Measurements by arm, and the machine before the first sample and after the last one."""

    latency: Mapping[str, Measurement]
    before: Conditions
    after: Conditions

    @property
    def disturbed(self) -> tuple[str, ...]:
        """Why the figures are not the machine's own."""
        return disturbances(self.before, self.after)


def time_in_turn(
    openers: Mapping[str, Opener],
    tick: Callable[[float], None] = lambda share: None,
    beside: Mapping[str, Call] | None = None,
    limits: Limits | None = None,
    clock: Now = time.monotonic,
    watch: Lookout = HERE,
) -> Timed:
    """Measure the arms in turns of fresh processes; none is steady where others wanted the cores or it throttled.

    Args:
        openers: at least one, by arm; each begins a process.
        tick: told the finished share.
        beside: calls of this process that are timed behind them, by arm.
        limits: default SECONDS for each arm and SAMPLES.
        watch: reads the machine of the arms.
    """
    limits = limits or Limits(seconds=SECONDS * len(openers), samples=SAMPLES)
    sets = list(take_turns(list(openers.values()), limits, tick, clock, watch))
    latency = {arm: measured(sets, index) for index, arm in enumerate(openers)}
    timed = Timed(latency={**latency, **_beside(beside or {})}, before=sets[0].before, after=sets[-1].after)
    if not timed.disturbed:
        return timed
    return replace(timed, latency={arm: replace(one, stable=False) for arm, one in timed.latency.items()})


def measured(sets: Sequence[TurnsOfSet], arm: int) -> Measurement:
    """What one arm gave in all sets: a round is a turn, a process a set."""
    samples, rounds, processes = list[int](), list[int](), list[int]()
    for number, one in enumerate(sets):
        for turn in one.turns[arm]:
            rounds += [rounds[-1] + 1 if rounds else 0] * len(turn)
            samples += turn
        processes += [number] * one.samples(arm)
    found = Measurement(
        samples=tuple(samples),
        rounds=tuple(rounds),
        processes=tuple(processes),
        stable=is_steady(samples, Settings().steady),
    )
    waited, spent = (sum(one.waited[arm][part] for one in sets) for part in (0, 1))
    return found.having_waited(waited / spent if spent else None, WAITED)


def _beside(calls: Mapping[str, Call]) -> dict[str, Measurement]:
    """Slices in this process."""
    if not calls:
        return {}
    with Waiting() as waiting:
        found = measure(calls, BESIDE)
    return {arm: one.having_waited(waiting.share) for arm, one in found.items()}
