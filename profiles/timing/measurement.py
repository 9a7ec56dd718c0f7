"""What was measured, as values: raw latencies and the figures that they carry, with intervals.

A percentile is given only where there are enough samples for it. Outliers are counted by Tukey's fences, never dropped.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import numpy.typing as npt

Samples = npt.NDArray[np.int64]
PERCENTILES: Mapping[float, int] = {50: 2, 90: 100, 95: 200, 99: 1000, 99.9: 10_000}  # fewest samples that carry it
BOUNDED = (50, 90, 95, 99)  # the percentiles that get an interval
RESAMPLES = 1000
BUSY = 0.05  # the share of their time that threads may wait for a core before the figures are not the machine's own


@dataclass(frozen=True, slots=True, kw_only=True)
class Measurement:
    """Raw latencies of one arm, in nanoseconds, in the order taken.

    Attributes:
        rounds: for each sample the round of the interleaving it was taken in, in ascending order; samples of one round
            touch in time, whatever the arm.
        processes: for each sample the fresh process it was taken in; empty where all are of one process.
        stable: the arm reached a steady state before the cap.
        clock_faults: inferences without a time, as the clock went backwards or stood still during them.
        waited: share of their time that the threads waited for a core; None where that is not known.
    """

    samples: tuple[int, ...]
    rounds: tuple[int, ...]
    stable: bool
    clock_faults: int = 0
    waited: float | None = None
    processes: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        """There are samples, each took time, and each has its round and its process, or none has.

        Raises:
            ValueError: it is not so.
        """
        if not self.samples:
            raise ValueError("it has no samples")
        if (least := min(self.samples)) <= 0:
            raise ValueError(f"a sample is {least} ns, and an inference takes more than none")
        for name in ("rounds", "processes"):
            if len(getattr(self, name)) not in (0, len(self.samples)):
                raise ValueError(f"{len(self.samples)} samples have {len(getattr(self, name))} {name}")

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

        A percentile bootstrap over processes, or over rounds where there is one process, and not over samples, as
        neighbours in time are alike (Künsch 1989). Where no steady state was reached, an interval reaches at least over
        the percentiles of every process or round. None, where it is not known which samples are neighbours.
        """
        values = {p: value for p in percentiles if (value := self.percentile(p)) is not None}
        among = self.processes or self.rounds
        if not among:
            return {}
        order = np.argsort(self.samples, kind="stable")
        blocks = np.unique(among, return_inverse=True)[1]
        found, rounds = np.asarray(self.samples)[order], blocks[order]
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

    def having_waited(self, share: float | None, most: float = BUSY) -> Measurement:
        """Told how long the threads waited for a core; a machine on which it is more than `most` is not steady."""
        return replace(self, waited=share, stable=self.stable and (share is None or share <= most))

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
        numbers, starts = np.unique(self.rounds, return_index=True)
        parts = np.split(np.asarray(self.samples), starts[1:])
        return {int(number): float(np.median(part)) for number, part in zip(numbers, parts, strict=True)}

    def process_of_round(self) -> dict[int, int]:
        """The fresh process of each round; empty where all are of one process."""
        return dict(zip(self.rounds, self.processes, strict=True)) if self.processes else {}


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


def _weighted(found: Samples, weights: Samples, percentiles: Sequence[float]) -> npt.NDArray[np.int64]:
    """The percentiles of sorted samples, each taken as often as its weight says."""
    position = np.cumsum(weights)
    taken: npt.NDArray[np.int64] = found[np.searchsorted(position, np.asarray(percentiles) / 100 * position[-1])]
    return taken
