"""Latency that can be trusted: warm-up, steady state, raw samples, arms interleaved in one run.

`quick`: at least 2 s and 20 inferences of warm-up, then at least 10 s and 200 samples an arm. `report`: at least 10 s
of warm-up, then 60 s and 1024 samples. An arm is steady when the last 5 of its 10 window medians lie within 3 %;
otherwise it is extended up to a cap and marked unstable. Outliers are counted by Tukey's fences, never dropped.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import cycle
from typing import Protocol

import numpy as np
import numpy.typing as npt

Call = Callable[[], object]
Clock = Callable[[], int]
Samples = npt.NDArray[np.int64]
PERCENTILES: Mapping[float, int] = {50: 2, 90: 100, 95: 200, 99: 1000, 99.9: 10_000}  # fewest samples that carry it
BOUNDED = (50, 90, 95, 99)  # the percentiles that get an interval
RESAMPLES = 1000
BUSY = 0.05  # the share of their time that threads may wait for a core before the figures are not the machine's own


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


@dataclass(frozen=True, slots=True, kw_only=True)
class Measurement:
    """Raw latencies of one arm, in nanoseconds, in the order taken.

    Attributes:
        rounds: for each sample the round of the interleaving it was taken in.
        stable: the arm reached a steady state before the cap.
        clock_faults: inferences without a time, as the clock went backwards during them.
        waited: share of their time that the threads waited for a core; None where that is not known.
    """

    samples: tuple[int, ...]
    rounds: tuple[int, ...]
    stable: bool
    clock_faults: int = 0
    waited: float | None = None

    def percentile(self, p: float) -> float | None:
        """Latency percentile in milliseconds; None where there are too few samples to carry it."""
        if len(self.samples) < PERCENTILES.get(p, 2):
            return None
        return float(np.percentile(self.samples, p)) / 1e6

    def interval(self, p: float, seed: int = 0) -> Interval | None:
        """The percentile with its 95 % interval; None where there are too few samples to carry it."""
        return self.intervals((p,), seed).get(p)

    def intervals(self, percentiles: Sequence[float], seed: int = 0) -> dict[float, Interval]:
        """The percentiles with their 95 % intervals, of those that the samples carry.

        A percentile bootstrap over rounds, not over samples, as neighbours in time are alike (Künsch 1989). Where no
        steady state was reached, an interval reaches at least over the percentiles of every round.
        """
        values = {p: value for p in percentiles if (value := self.percentile(p)) is not None}
        order = np.argsort(self.samples, kind="stable")
        found, rounds = np.asarray(self.samples)[order], np.unique(self.rounds, return_inverse=True)[1][order]
        count = int(rounds.max()) + 1
        rng = np.random.default_rng(seed)
        drawn = [
            _weighted(found, rng.multinomial(count, [1 / count] * count)[rounds], tuple(values))
            for _ in range(RESAMPLES)
        ]
        bounds = np.percentile(np.reshape(drawn, (RESAMPLES, len(values))), [2.5, 97.5], axis=0)
        made: dict[float, Interval] = {}
        for (p, value), (low, high) in zip(values.items(), bounds.T, strict=True):
            if not self.stable:
                each = [float(np.percentile(found[rounds == r], p)) for r in range(count)]
                low, high = min(low, *each), max(high, *each)
            made[p] = Interval(value=value, low=min(value, low / 1e6), high=max(value, high / 1e6))
        return made

    def and_then(self, later: Measurement) -> Measurement:
        """Both together, the rounds of `later` after these."""
        offset = max(self.rounds) + 1
        rounds = (*self.rounds, *(offset + r for r in later.rounds))
        return Measurement(
            samples=(*self.samples, *later.samples),
            rounds=rounds,
            stable=later.stable,
            clock_faults=self.clock_faults + later.clock_faults,
            waited=max((one.waited for one in (self, later) if one.waited is not None), default=None),
        )

    def having_waited(self, share: float | None) -> Measurement:
        """Told how long the threads waited for a core; a machine that busy is not steady."""
        return replace(self, waited=share, stable=self.stable and (share is None or share <= BUSY))

    @property
    def outliers(self) -> int:
        """Samples beyond 1.5 interquartile ranges from the quartiles."""
        return self._beyond(1.5)

    @property
    def far_outliers(self) -> int:
        """Of these, the ones beyond 3 interquartile ranges."""
        return self._beyond(3.0)

    def _beyond(self, ranges: float) -> int:
        low, high = np.percentile(self.samples, [25, 75])
        margin = ranges * (high - low)
        data = np.asarray(self.samples)
        return int(((data < low - margin) | (data > high + margin)).sum())

    def latency(self) -> Latency:
        """The figures derived from the samples."""
        p50, p90, p95, p99, p99_9 = (self.percentile(p) for p in PERCENTILES)
        return Latency(
            p50=p50,
            p90=p90,
            p95=p95,
            p99=p99,
            p99_9=p99_9,
            least=min(self.samples) / 1e6,
            mean=float(np.mean(self.samples)) / 1e6,
            variation=float(np.std(self.samples) / np.mean(self.samples)),
            samples=len(self.samples),
            outliers=self.outliers,
            far_outliers=self.far_outliers,
            stable=self.stable,
            intervals={int(p): found for p, found in self.intervals(BOUNDED).items()},
            waited=self.waited,
        )

    def round_medians(self) -> dict[int, float]:
        """Median latency in nanoseconds of each round."""
        data, rounds = np.asarray(self.samples), np.asarray(self.rounds)
        return {int(r): float(np.median(data[rounds == r])) for r in np.unique(rounds)}


@dataclass(frozen=True, slots=True, kw_only=True)
class Latency:
    """What a measurement says: milliseconds, None where there are too few samples for that percentile.

    Attributes:
        variation: coefficient of variation, standard deviation over mean.
        outliers: samples beyond Tukey's fences, and `far_outliers` beyond twice as far; they are in every figure here.
        stable: a steady state was reached.
        intervals: of the percentiles in BOUNDED, as far as the samples carry them.
        waited: share of their time that the threads waited for a core; None where that is not known.
    """

    p50: float | None
    p90: float | None
    p95: float | None
    p99: float | None
    least: float
    mean: float
    variation: float
    samples: int
    outliers: int
    stable: bool
    intervals: Mapping[int, Interval] = field(default_factory=dict)
    p99_9: float | None = None
    far_outliers: int = 0
    waited: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Interval:
    """A latency in milliseconds and the 95 % interval around it."""

    value: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.value:.3f} [{self.low:.3f}, {self.high:.3f}]"


@dataclass(frozen=True, slots=True, kw_only=True)
class Ratio:
    """How many times faster one arm is than another, with its 95 % bootstrap interval."""

    value: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.value:.2f}x [{self.low:.2f}, {self.high:.2f}]"


class Arm(Protocol):
    """One of several things that are measured in turn."""

    def warm(self, settings: Settings) -> None:
        """Run without taking times until it is warm."""

    def slice(self, settings: Settings) -> list[int]:
        """Nanoseconds of each inference of one slice, in order; negative where the clock went backwards."""


@dataclass(frozen=True, slots=True)
class CallArm:
    """A callable of this process; each call is one inference."""

    call: Call
    clock: Clock = time.perf_counter_ns

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
        kept = [sample for sample in taken if sample >= 0]
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
        """What was taken, as a value."""
        return Measurement(
            samples=tuple(self.samples),
            rounds=tuple(self.rounds),
            stable=is_steady(self.samples, settings.steady) and not self.clock_faults,
            clock_faults=self.clock_faults,
        )


def measure(
    calls: Mapping[str, Call],
    settings: Settings = QUICK,
    tick: Callable[[float], None] = lambda share: None,
    clock: Clock = time.perf_counter_ns,
    warmed: Callable[[], None] = lambda: None,
) -> dict[str, Measurement]:
    """Measure several callables in turn, slice by slice, in ABBA order, so that drift of the machine hits all alike.

    Args:
        calls: one callable an arm; each call is one inference.
        tick: told the finished share, 0..1, after each round.
        clock: nanoseconds that only go forward.
        warmed: called once, between the warm-up and the first slice.

    Returns:
        One measurement an arm; samples of the same round were taken next to each other.
    """
    records = {name: Record() for name in calls}
    interleave({name: CallArm(call, clock) for name, call in calls.items()}, records, settings, tick, warmed)
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


def speedup(slow: Measurement, fast: Measurement, seed: int = 0) -> Ratio:
    """Median over rounds of slow/fast, with a percentile bootstrap over rounds (Efron 1979, 2000 resamples)."""
    a, b = slow.round_medians(), fast.round_medians()
    ratios = np.asarray([a[r] / b[r] for r in a.keys() & b.keys()])
    rng = np.random.default_rng(seed)
    resampled = np.median(rng.choice(ratios, size=(2000, len(ratios))), axis=1)
    low, high = np.percentile(resampled, [2.5, 97.5])
    return Ratio(value=float(np.median(ratios)), low=float(low), high=float(high))


def _weighted(found: Samples, weights: Samples, percentiles: Sequence[float]) -> npt.NDArray[np.int64]:
    """The percentiles of sorted samples, each taken as often as its weight says."""
    position = np.cumsum(weights)
    taken: npt.NDArray[np.int64] = found[np.searchsorted(position, np.asarray(percentiles) / 100 * position[-1])]
    return taken
