"""How fast a decoder reads and writes, in fresh processes, behind short and long prompts.

Every run has a prompt of its own: a library that remembers the last one would answer it without reading it.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np

from ...profiles.findings.language import AtDepth, Speed
from ...profiles.timing.measure import Settings, is_steady
from ...profiles.timing.measurement import BUSY, Measurement
from ...profiles.timing.taking_turns import HERE, Lookout
from .remote import Remote

# Tokens of the prompts, and tokens that are written behind each.
DEPTHS, WRITTEN = (128, 1024), 33
HOW = (
    "The runtime's own library read prompts of random tokens, each a new one, and wrote greedily behind them, in fresh "
    "processes, after one run that was not timed; median and 95 % interval."
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Prompts:
    """What is read and written.

    Attributes:
        depths: tokens of the prompts, ascending.
        written: tokens behind each, at least two.
        vocabulary: tokens are drawn from.
    """

    depths: tuple[int, ...]
    written: int
    vocabulary: int

    @classmethod
    def within(cls, context: int, vocabulary: int) -> Prompts:
        """The usual ones that a context holds, or the longest that a short one does."""
        written = min(WRITTEN, max(2, context // 4))
        depths = tuple(depth for depth in DEPTHS if depth + written <= context) or (max(1, context - written),)
        return cls(depths=depths, written=written, vocabulary=vocabulary)

    def draw(self, depth: int, number: int) -> list[int]:
        """The prompt of a run; another one for each number."""
        rng = np.random.default_rng((depth, number))
        return [int(token) for token in rng.integers(0, self.vocabulary, depth)]

    def __str__(self) -> str:
        return f"{' and '.join(f'{depth:,}' for depth in self.depths)} tokens, {self.written} written"


@dataclass(slots=True)
class Taken:
    """Raw times at one depth, in nanoseconds: the first token of each run, and the mean of one of the others.

    Attributes:
        tokens: each token but the first of a run, in order: what steadiness is seen by.
    """

    first: list[int] = field(default_factory=list)
    later: list[int] = field(default_factory=list)
    tokens: list[int] = field(default_factory=list)
    processes: list[int] = field(default_factory=list)

    def add(self, stamps: Sequence[int], process: int) -> None:
        """Keep a run: when each token was there, since the call."""
        self.first.append(stamps[0])
        self.later.append(round((stamps[-1] - stamps[0]) / (len(stamps) - 1)))
        self.tokens += np.diff(stamps).tolist()
        self.processes.append(process)

    def measurement(self, samples: list[int], *, stable: bool) -> Measurement:
        """Some of the times as a value."""
        rounds = tuple(range(len(samples)))
        return Measurement(samples=tuple(samples), rounds=rounds, processes=tuple(self.processes), stable=stable)


@dataclass(slots=True)
class TextRuns:
    """What was taken so far; it is there when a process fails on the way."""

    prompts: Prompts
    taken: dict[int, Taken] = field(default_factory=dict)
    waits: list[tuple[int, int]] = field(default_factory=list)
    cold: list[int] = field(default_factory=list)
    number: int = 0

    def process(
        self, engine: Remote, seconds: float, least: int, tick: Callable[[float], None], watch: Lookout = HERE
    ) -> None:
        """Runs in one process: one at each depth without a time, then in turn until the seconds are over.

        Args:
            least: runs of each depth in any case.
            watch: reads the machine of the process.
        """
        self.cold.append(self._write(engine, self.prompts.depths[0])[0])
        for depth in self.prompts.depths[1:]:
            self._write(engine, depth)
        begun, done = time.monotonic(), 0
        with watch.waiting(engine.pid) as waiting:
            while done < least or time.monotonic() - begun < seconds:
                for depth in self.prompts.depths:
                    self.add(depth, self._write(engine, depth))
                done += 1
                tick(min(1.0, (time.monotonic() - begun) / seconds if done >= least else done / least))
        self.waits.append((waiting.waited, waiting.ran + waiting.waited))

    def add(self, depth: int, stamps: Sequence[int]) -> None:
        """Keep a run of the process that was begun last."""
        self.taken.setdefault(depth, Taken()).add(stamps, len(self.cold) - 1)

    def _write(self, engine: Remote, depth: int) -> list[int]:
        self.number += 1
        return write(engine, self.prompts, depth, self.number)

    @property
    def enough(self) -> bool:
        """Every depth has a median."""
        return all(len(self.taken.get(depth, Taken()).first) > 1 for depth in self.prompts.depths)

    def unsteady(self) -> str:
        """Why the figures are not the machine's own, a clause; empty where they are."""
        waited, spent = (sum(pair[part] for pair in self.waits) for part in (0, 1))
        if spent and waited / spent > BUSY:
            return f"the threads waited {waited / spent:.0%} of their time for a core"
        tokens = self.taken[self.prompts.depths[0]].tokens
        return "" if is_steady(tokens, Settings().steady) else "no steady state was reached"

    def speed(self, threads: int) -> Speed:
        """The figures. Every depth has samples."""
        unsteady = self.unsteady()
        return Speed(
            depths=tuple(self._depths(stable=not unsteady)),
            threads=threads,
            processes=len(self.cold),
            how=HOW,
            unsteady=unsteady,
        )

    def _depths(self, *, stable: bool) -> Iterator[AtDepth]:
        for depth in self.prompts.depths:
            taken = self.taken[depth]
            first, later = (taken.measurement(samples, stable=stable) for samples in (taken.first, taken.later))
            yield AtDepth.of(depth, self.prompts.written, first, later)


def write(engine: Remote, prompts: Prompts, depth: int, number: int) -> list[int]:
    """One run: nanoseconds from the call until each token is there."""
    stamps: list[int] = engine.ask("write", prompt=prompts.draw(depth, number), most=prompts.written)
    return stamps
