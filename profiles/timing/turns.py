"""Is B faster than A, by how much, and how sure is that.

Two processes, one an arm, take turns of a few inferences, in ABBA order: on a busy machine the latency of one call says
little, but two turns that touch in time meet the same machine. Each pair of turns gives one log ratio, each pair of
fresh processes the median of its log ratios, and the pairs of processes the estimate: what a process fixes when it
starts, its memory layout above all, is then part of the spread. A difference is claimed only if the interval excludes 1
and the ratio is at least CLAIM.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from .measurement import Measurement
from .ratio import RESAMPLES, Ratio, over_processes
from .significance import Claim, claim

LEAST_PAIRS = 5
Turn = tuple[int, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Turns:
    """What one pair of fresh processes gave: raw latencies in nanoseconds, turn by turn.

    Turn `i` of A and turn `i` of B touch in time; A goes first in even ones, B in odd ones.
    """

    a: tuple[Turn, ...]
    b: tuple[Turn, ...]

    def center(self) -> float:
        """Median over the turns of log(latency of A / latency of B)."""
        return float(np.median(log_ratios(self.a, self.b)))


@dataclass(frozen=True, slots=True, kw_only=True)
class LatencyComparison:
    """How B's latency compares with A's.

    Attributes:
        ratio: A's latency over B's, above 1 where B is faster, with the 95 % interval.
        verdict: on B.
        processes: fresh processes an arm.
        turns: pairs of turns in all.
        weaker: why this is weaker evidence than an interleaved comparison; empty where it is one.
        unfinished: why it ended before its time; nothing is claimed then.
    """

    ratio: Ratio
    verdict: Claim
    processes: int
    turns: int
    weaker: str = ""
    unfinished: str = ""

    def __str__(self) -> str:
        said = {
            "faster": f"B is faster: {self.ratio} as fast as A",
            "slower": f"B is slower: {self.ratio} as fast as A",
            "no difference shown": f"no difference shown: B is {self.ratio} as fast as A",
        }
        return said[self.verdict]


def log_ratios(a: Sequence[Turn], b: Sequence[Turn]) -> npt.NDArray[np.float64]:
    """log(latency of A / latency of B) of each pair of turns; the latency of a turn is the median of its samples.

    All turns have the same number of samples.
    """
    first, second = (np.median(np.asarray(arm), axis=1) for arm in (a, b))
    ratios: npt.NDArray[np.float64] = np.log(first) - np.log(second)
    return ratios


def standard_error(a: Sequence[Turn], b: Sequence[Turn]) -> float:
    """Of the median over the turns, from their median absolute deviation, as if they were normal."""
    found = log_ratios(a, b)
    deviation = 1.4826 * float(np.median(np.abs(found - np.median(found))))
    return 1.2533 * deviation / math.sqrt(len(found))


def compare_turns(pairs: Sequence[Turns], *, unfinished: str = "", seed: int = 0) -> LatencyComparison:
    """Judge interleaved turns.

    Args:
        pairs: at least two pairs of processes; fewer than LEAST_PAIRS carry no claim.
        unfinished: why there are not more.
    """
    ratio = over_processes([pair.center() for pair in pairs], seed)
    sure = not unfinished and len(pairs) >= LEAST_PAIRS
    return LatencyComparison(
        ratio=ratio,
        verdict=claim(ratio) if sure else "no difference shown",
        processes=len(pairs),
        turns=sum(len(pair.a) for pair in pairs),
        unfinished=unfinished,
    )


def compare_apart(a: Sequence[Measurement], b: Sequence[Measurement], weaker: str, seed: int = 0) -> LatencyComparison:
    """Judge measurements that were not interleaved, one measurement a process.

    With one process an arm the interval is that of its rounds alone: what differs between processes is not in it.
    """
    rng = np.random.default_rng(seed)
    value = _level(a) - _level(b)
    drawn = _levels(a, rng) - _levels(b, rng)
    low, high = np.percentile(drawn, [2.5, 97.5])
    ratio = Ratio(value=float(np.exp(value)), low=float(np.exp(min(low, value))), high=float(np.exp(max(high, value))))
    return LatencyComparison(ratio=ratio, verdict=claim(ratio), processes=min(len(a), len(b)), turns=0, weaker=weaker)


def half_width(pairs: Sequence[Turns], seed: int = 0) -> float:
    """Half the width of the interval as a share, 0.01 for 1 %: what more pairs would narrow."""
    ratio = over_processes([pair.center() for pair in pairs], seed)
    return math.log(ratio.high / ratio.low) / 2


def _level(runs: Sequence[Measurement]) -> float:
    """Log of the latency: the mean over processes of the log of the median."""
    return float(np.mean([np.log(np.median(run.samples)) for run in runs]))


def _levels(runs: Sequence[Measurement], rng: np.random.Generator) -> npt.NDArray[np.float64]:
    """Resampled levels: of processes where there are several, else of the rounds of the only one."""
    if len(runs) > 1:
        medians = np.log([float(np.median(run.samples)) for run in runs])
    else:
        medians = np.log(list(runs[0].round_medians().values()))
    drawn = rng.choice(medians, (RESAMPLES, len(medians)))
    levels: npt.NDArray[np.float64] = drawn.mean(axis=1) if len(runs) > 1 else np.median(drawn, axis=1)
    return levels
