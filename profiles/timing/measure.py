"""Latency that can be trusted: warm-up, steady state, raw samples, arms interleaved in one run.

`quick`: at least 2 s and 20 inferences of warm-up, then at least 10 s and 200 samples an arm. `report`: at least 10 s
of warm-up, then 60 s and 1024 samples. An arm is steady when the last 5 of its 10 window medians lie within 3 %;
otherwise it is extended up to a cap and marked unstable.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from itertools import cycle
from typing import Protocol

import numpy as np

from .measurement import Measurement

Call = Callable[[], object]
Clock = Callable[[], int]


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """How long to measure; seconds and counts are for each arm."""

    warmup_seconds: float = 2.0
    warmup_count: int = 20
    seconds: float = 10.0
    samples: int = 200
    slice_seconds: float = 0.25
    settle_count: int = 3
    cap: float = 2.0
    steady: float = 0.03


QUICK = Settings()
REPORT = Settings(warmup_seconds=10.0, seconds=60.0, samples=1024, slice_seconds=0.5)
MODES = {"quick": QUICK, "report": REPORT}
SLOW = 3.0  # times the seconds after which the sample count is not waited for


class Arm(Protocol):
    """One of several things that are measured in turn."""

    @property
    def pid(self) -> int:
        """The process that it runs in."""

    def ready(self) -> object:
        """Wait until it can be asked."""

    def warm(self, settings: Settings) -> None:
        """Run without taking times until it is warm."""

    def slice(self, settings: Settings) -> list[int]:
        """Nanoseconds of each inference of one slice, in order; negative where the clock went backwards."""

    def turn(self, settle: int, count: int) -> list[int]:
        """Nanoseconds of `count` inferences, after `settle` that only bring back caches."""


@dataclass(frozen=True, slots=True)
class CallArm:
    """A callable of this process; each call is one inference."""

    call: Call
    clock: Clock = time.perf_counter_ns

    @property
    def pid(self) -> int:
        """This process."""
        return os.getpid()

    def ready(self) -> None:
        """At once."""

    def warm(self, settings: Settings) -> None:
        """At least the seconds and the count; then until it is steady, or `cap` times the seconds are over."""
        begun = self.clock()
        taken: list[int] = []
        least, most = (int(share * settings.warmup_seconds * 1e9) for share in (1, settings.cap))
        while (now := self.clock()) - begun < least or len(taken) < settings.warmup_count:
            self.call()
            taken.append(self.clock() - now)
        while (now := self.clock()) - begun < most and not is_steady(taken, settings.steady):
            more = max(1, len(taken) // 10)
            taken += timed(self.call, self.clock, count=more)

    def slice(self, settings: Settings) -> list[int]:
        """The first calls after another arm ran only bring back caches and thread pools."""
        for _ in range(settings.settle_count):
            self.call()
        return timed(self.call, self.clock, nanoseconds=int(settings.slice_seconds * 1e9))

    def turn(self, settle: int, count: int) -> list[int]:
        """As `Arm`."""
        for _ in range(settle):
            self.call()
        return timed(self.call, self.clock, count=count)


def warm_by_slices(
    take: Callable[[Settings], list[int]], settings: Settings, now: Callable[[], float] = time.monotonic
) -> None:
    """As `CallArm.warm`, of what can be asked for the times of a slice and for nothing else."""
    begun, taken = now(), list[int]()
    slices = replace(settings, settle_count=0, slice_seconds=min(settings.slice_seconds, settings.warmup_seconds))
    while now() - begun < settings.warmup_seconds or len(taken) < settings.warmup_count:
        taken += take(slices)
    while now() - begun < settings.cap * settings.warmup_seconds and not is_steady(taken, settings.steady):
        taken += take(slices)


def timed(call: Call, clock: Clock, *, nanoseconds: int | None = None, count: int | None = None) -> list[int]:
    """Times of the calls that begin within so many nanoseconds, or of so many calls.

    A clock that is set back moves the end along, so that the loop takes no longer.
    """
    taken: list[int] = []
    begin = clock()
    end = None if nanoseconds is None else begin + nanoseconds
    while len(taken) != count and (end is None or begin < end):
        call()
        stop = clock()
        taken.append(stop - begin)
        again = clock()
        if end is not None:
            end += min(0, stop - begin, again - stop)
        begin = again
    return taken


@dataclass(slots=True)
class Record:
    """What was taken of one arm so far; it is there when an arm fails on the way."""

    samples: list[int] = field(default_factory=list)
    rounds: list[int] = field(default_factory=list)
    clock_faults: int = 0
    spent: float = 0.0

    def add(self, taken: list[int], index: int) -> None:
        """Keep a slice; what the clock did not tell is counted, not kept."""
        kept = [sample for sample in taken if sample > 0]
        self.clock_faults += len(taken) - len(kept)
        self.samples += kept
        self.rounds += [index] * len(kept)
        self.spent += sum(kept) / 1e9

    def enough(self, settings: Settings) -> bool:
        """Enough time and samples; a model too slow for that many samples ends with the time alone."""
        slow = self.spent >= SLOW * settings.seconds and not self.jumped
        return self.spent >= settings.seconds and (len(self.samples) >= settings.samples or slow)

    @property
    def jumped(self) -> bool:
        """One sample is most of the time, as where the machine stood still or the clock was set forward."""
        return max(self.samples, default=0) / 1e9 > self.spent / 2

    def measurement(self, settings: Settings) -> Measurement:
        """What was taken, as a value; something was."""
        return Measurement(
            samples=tuple(self.samples),
            rounds=tuple(self.rounds),
            stable=is_steady(self.samples, settings.steady) and not self.clock_faults,
            clock_faults=self.clock_faults,
        )


def measure(
    calls: Mapping[str, Call | Arm],
    settings: Settings = QUICK,
    tick: Callable[[float], None] = lambda share: None,
    clock: Clock = time.perf_counter_ns,
    warmed: Callable[[], None] = lambda: None,
) -> dict[str, Measurement]:
    """Measure several callables in turn, slice by slice, in ABBA order, so that drift of the machine hits all alike.

    Args:
        calls: one callable an arm, each call of which is one inference; or an arm that times itself.
        tick: told the finished share, 0..1, after each round.
        clock: nanoseconds that only go forward.
        warmed: called once, between the warm-up and the first slice.

    Returns:
        One measurement an arm; samples of the same round were taken next to each other.
    """
    records = {name: Record() for name in calls}
    arms = {name: CallArm(call, clock) if callable(call) else call for name, call in calls.items()}
    interleave(arms, records, settings, tick, warmed)
    return {name: record.measurement(settings) for name, record in records.items()}


def interleave(
    arms: Mapping[str, Arm],
    records: Mapping[str, Record],
    settings: Settings,
    tick: Callable[[float], None] = lambda share: None,
    warmed: Callable[[], None] = lambda: None,
) -> None:
    """Warm the arms up, then fill their records slice by slice in ABBA order until they are steady or reach the cap.

    Args:
        records: one for each arm, by the same names; what is in them stays valid if an arm raises.
        warmed: called once, between the warm-up and the first slice.
    """
    for arm in arms.values():
        arm.warm(settings)
    warmed()
    for index, order in enumerate(cycle((list(arms), list(arms)[::-1]))):
        for name in order:
            records[name].add(arms[name].slice(settings), index)
        least = min(record.spent for record in records.values())
        tick(min(1.0, least / settings.seconds))
        done = all(record.enough(settings) for record in records.values())
        steady = done and all(is_steady(record.samples, settings.steady) for record in records.values())
        if steady or (done and least >= settings.cap * settings.seconds):
            break


def is_steady(samples: list[int], tolerance: float) -> bool:
    """Whether the medians of the last 5 of 10 equal windows lie within `tolerance` of each other."""
    if len(samples) < 10:
        return False
    medians = [float(np.median(window)) for window in np.array_split(np.asarray(samples), 10)[5:]]
    return max(medians) <= (1 + tolerance) * min(medians)
