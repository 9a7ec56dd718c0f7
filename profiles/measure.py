"""Latency that can be trusted: warm-up, steady state, raw samples, arms interleaved in one run.

The rules are those of `quick` mode: at least 2 s and 20 inferences of warm-up, then at least 10 s and 200 samples an
arm. An arm is steady when the last 5 of its 10 window medians lie within 3 %; otherwise it is extended up to a cap and
marked unstable. Outliers are counted by Tukey's fences, never dropped.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from itertools import cycle

import numpy as np
import numpy.typing as npt

Call = Callable[[], object]
Clock = Callable[[], int]
Samples = npt.NDArray[np.int64]
PERCENTILES = {50: 2, 90: 100, 95: 200, 99: 1000}  # percentile: fewest samples that carry it
BOUNDED = (50, 90)  # the percentiles that get an interval
RESAMPLES = 1000


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
SLOW = 3.0  # times the seconds after which the sample count is not waited for


@dataclass(frozen=True, slots=True, kw_only=True)
class Measurement:
    """Raw latencies of one arm, in nanoseconds, in the order taken.

    Attributes:
        rounds: for each sample the round of the interleaving it was taken in.
        stable: the arm reached a steady state before the cap.
    """

    samples: tuple[int, ...]
    rounds: tuple[int, ...]
    stable: bool

    def percentile(self, p: int) -> float | None:
        """Latency percentile in milliseconds; None where there are too few samples to carry it."""
        if len(self.samples) < PERCENTILES.get(p, 2):
            return None
        return float(np.percentile(self.samples, p)) / 1e6

    def interval(self, p: int, seed: int = 0) -> Interval | None:
        """The percentile with its 95 % interval; None where there are too few samples to carry it.

        A percentile bootstrap over rounds, not over samples, as neighbours in time are alike (Künsch 1989). Where no
        steady state was reached, the interval reaches at least over the percentiles of every round.
        """
        value = self.percentile(p)
        if value is None:
            return None
        order = np.argsort(self.samples, kind="stable")
        found, rounds = np.asarray(self.samples)[order], np.unique(self.rounds, return_inverse=True)[1][order]
        count = int(rounds.max()) + 1
        rng = np.random.default_rng(seed)
        drawn = [_weighted(found, rng.multinomial(count, [1 / count] * count)[rounds], p) for _ in range(RESAMPLES)]
        low, high = np.percentile(drawn, [2.5, 97.5])
        if not self.stable:
            each = [float(np.percentile(found[rounds == r], p)) for r in range(count)]
            low, high = min(low, *each), max(high, *each)
        return Interval(value=value, low=min(value, low / 1e6), high=max(value, high / 1e6))

    def and_then(self, later: Measurement) -> Measurement:
        """Both together, the rounds of `later` after these."""
        offset = max(self.rounds) + 1
        rounds = (*self.rounds, *(offset + r for r in later.rounds))
        return Measurement(samples=(*self.samples, *later.samples), rounds=rounds, stable=later.stable)

    @property
    def outliers(self) -> int:
        """Samples beyond 1.5 interquartile ranges from the quartiles."""
        low, high = np.percentile(self.samples, [25, 75])
        margin = 1.5 * (high - low)
        data = np.asarray(self.samples)
        return int(((data < low - margin) | (data > high + margin)).sum())

    def latency(self) -> Latency:
        """The figures derived from the samples."""
        p50, p90, p95, p99 = (self.percentile(p) for p in PERCENTILES)
        return Latency(
            p50=p50,
            p90=p90,
            p95=p95,
            p99=p99,
            least=min(self.samples) / 1e6,
            mean=float(np.mean(self.samples)) / 1e6,
            variation=float(np.std(self.samples) / np.mean(self.samples)),
            samples=len(self.samples),
            outliers=self.outliers,
            stable=self.stable,
            intervals={p: found for p in BOUNDED if (found := self.interval(p)) is not None},
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
        outliers: samples beyond Tukey's fences; they are counted in everything here.
        stable: a steady state was reached.
        intervals: of the percentiles in BOUNDED, as far as the samples carry them.
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


@dataclass(slots=True)
class _Arm:
    call: Call
    clock: Clock
    samples: list[int] = field(default_factory=list)
    rounds: list[int] = field(default_factory=list)
    spent: float = 0.0

    def slice(self, settings: Settings, index: int) -> None:
        """Run for one slice. The first calls after another arm ran only bring back caches and thread pools."""
        for _ in range(settings.settle_count):
            self.call()
        end = self.clock() + int(settings.slice_seconds * 1e9)
        while (start := self.clock()) < end:
            self.call()
            taken = self.clock() - start
            self.samples.append(taken)
            self.rounds.append(index)
            self.spent += taken / 1e9

    def enough(self, settings: Settings) -> bool:
        """Enough time and samples; a model too slow for that many samples ends with the time alone."""
        slow = self.spent >= SLOW * settings.seconds
        return self.spent >= settings.seconds and (len(self.samples) >= settings.samples or slow)


def measure(
    calls: Mapping[str, Call],
    settings: Settings = QUICK,
    tick: Callable[[float], None] = lambda share: None,
    clock: Clock = time.perf_counter_ns,
) -> dict[str, Measurement]:
    """Measure several callables in turn, slice by slice, in ABBA order, so that drift of the machine hits all alike.

    Args:
        calls: one callable an arm; each call is one inference.
        tick: told the finished share, 0..1, after each round.
        clock: nanoseconds that only go forward.

    Returns:
        One measurement an arm; samples of the same round were taken next to each other.
    """
    arms = {name: _Arm(call, clock) for name, call in calls.items()}
    for arm in arms.values():
        _warm(arm.call, settings, clock)
    for index, order in enumerate(cycle((list(arms.values()), list(reversed(arms.values()))))):
        for arm in order:
            arm.slice(settings, index)
        least = min(arm.spent for arm in arms.values())
        tick(min(1.0, least / settings.seconds))
        done = all(arm.enough(settings) for arm in arms.values())
        steady = done and all(is_steady(arm.samples, settings.steady) for arm in arms.values())
        if steady or (done and least >= settings.cap * settings.seconds):
            break
    return {
        name: Measurement(
            samples=tuple(arm.samples), rounds=tuple(arm.rounds), stable=is_steady(arm.samples, settings.steady)
        )
        for name, arm in arms.items()
    }


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


def _weighted(found: Samples, weights: Samples, p: int) -> float:
    """The percentile of sorted samples, each taken as often as its weight says."""
    position = np.cumsum(weights)
    return float(found[np.searchsorted(position, p / 100 * position[-1])])


def _warm(call: Call, settings: Settings, clock: Clock) -> None:
    end = clock() + int(settings.warmup_seconds * 1e9)
    count = 0
    while count < settings.warmup_count or clock() < end:
        call()
        count += 1
