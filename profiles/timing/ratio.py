"""How many times faster one engine is than another, and how sure that is."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from .measurement import Measurement

RESAMPLES = 10_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Ratio:
    """How many times faster one arm is than another, with its 95 % bootstrap interval."""

    value: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.value:.2f}x [{self.low:.2f}, {self.high:.2f}]"


def speedup(slow: Measurement, fast: Measurement, seed: int = 0) -> Ratio:
    """The ratio of two measurements that were taken in turn.

    Of fresh processes, `over_processes` of what each says; of one process the median over its rounds, with a percentile
    bootstrap over them (Efron 1979).
    """
    if slow.processes and fast.processes:
        return over_processes(_centers(slow, fast), seed)
    ratios = np.exp(list(_log_ratios(slow, fast).values()))
    rng = np.random.default_rng(seed)
    resampled = np.median(rng.choice(ratios, size=(2000, len(ratios))), axis=1)
    low, high = np.percentile(resampled, [2.5, 97.5])
    return Ratio(value=float(np.median(ratios)), low=float(low), high=float(high))


def over_processes(found: Sequence[float], seed: int = 0) -> Ratio:
    """The mean over pairs of processes, and a bootstrap over them.

    A percentile bootstrap of few values is too narrow, by the factor sqrt((n-1)/n) for the spread and by normal over
    Student's quantiles for not knowing it (Hesterberg 2015, "What Teachers Should Know About the Bootstrap"); the
    interval is widened by both.

    Args:
        found: log(latency of the first / latency of the second) of each pair of processes, at least two.
    """
    centers = np.asarray(found)
    count, value = len(centers), float(centers.mean())
    rng = np.random.default_rng(seed)
    drawn = rng.choice(centers, (RESAMPLES, count)).mean(axis=1) - value
    low, high = np.percentile(drawn, [2.5, 97.5]) * _student(count - 1) / _NORMAL * np.sqrt(count / (count - 1))
    return Ratio(value=float(np.exp(value)), low=float(np.exp(value + low)), high=float(np.exp(value + high)))


def _centers(slow: Measurement, fast: Measurement) -> list[float]:
    """Of each pair of processes the median of its log ratios."""
    ratios, processes = _log_ratios(slow, fast), slow.process_of_round()
    by_process: dict[int, list[float]] = {}
    for number, ratio in ratios.items():
        by_process.setdefault(processes[number], []).append(ratio)
    return [float(np.median(found)) for found in by_process.values()]


def _log_ratios(slow: Measurement, fast: Measurement) -> dict[int, float]:
    """log(slow / fast) of the medians of each round that both have."""
    a, b = slow.round_medians(), fast.round_medians()
    return {number: math.log(a[number] / b[number]) for number in a.keys() & b.keys()}


_NORMAL = 1.959964


def _student(freedom: int) -> float:
    """97.5 % quantile of Student's t (Abramowitz and Stegun 26.7.5, four terms); within 0.3 % from 4 degrees on."""
    z = _NORMAL
    terms = (
        (z**3 + z) / 4,
        (5 * z**5 + 16 * z**3 + 3 * z) / 96,
        (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / 384,
        (79 * z**9 + 776 * z**7 + 1482 * z**5 - 1920 * z**3 - 945 * z) / 92160,
    )
    return z + math.fsum(term / freedom ** (power + 1) for power, term in enumerate(terms))
