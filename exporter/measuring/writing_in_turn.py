"""Two decoders that take turns: fresh processes of both, again and again, reading the same prompts in ABBA order."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace

from ...backends.places.remote import EngineFailedError, Remote
from ...backends.places.text_runs import Prompts, TextRuns, write
from ...profiles.findings.language import Language
from ...profiles.timing.measure import Settings, is_steady
from ...profiles.timing.measurement import Latency, Measurement
from ...profiles.timing.turns import LEAST_PAIRS, LatencyComparison, Turns, compare_turns
from .scenarios import Start
from .subject import Subject

_LEAST = 3  # turns of each depth in a pair of processes


@dataclass(slots=True)
class Writings:
    """What was taken so far.

    Attributes:
        runs: of each side.
        pairs: by what was timed, one a pair of processes: one sample a turn.
    """

    subjects: tuple[Subject, Subject]
    prompts: Prompts
    runs: tuple[TextRuns, TextRuns]
    pairs: dict[str, list[Turns]]
    unfinished: str = ""

    def outcomes(self) -> dict[str, LatencyComparison]:
        """How B compares with A, by what was timed."""
        return {name: compare_turns(pairs, unfinished=self.unfinished) for name, pairs in self.pairs.items()}

    def latency(self, side: int) -> Latency:
        """Of one token behind the shortest prompt."""
        taken = self.runs[side].taken[self.prompts.depths[0]]
        stable = is_steady(taken.tokens, Settings().steady)
        found: Measurement = taken.measurement(taken.later, stable=stable)
        return found.latency()

    def language(self, side: int, threads: int) -> Language:
        """The speed of one side, beside what its bundle says of its text."""
        subject = self.subjects[side]
        assert subject.decoder is not None
        report = None if subject.report is None else subject.report.language
        base = report or Language(context=subject.decoder.context, vocabulary=subject.decoder.vocabulary)
        return replace(base, speed=self.runs[side].speed(threads), bandwidth=None)


def prompted_alike(a: Subject, b: Subject) -> tuple[Subject, Subject]:
    """Both with the prompts that fit the shorter context and the smaller vocabulary."""
    assert a.decoder is not None and b.decoder is not None
    context = min(a.decoder.context, b.decoder.context)
    vocabulary = min(a.decoder.vocabulary, b.decoder.vocabulary)
    first, second = (
        replace(one, decoder=replace(entry, context=context, vocabulary=vocabulary))
        for one, entry in ((a, a.decoder), (b, b.decoder))
    )
    return first, second


def take_turns_writing(
    subjects: tuple[Subject, Subject], starts: Sequence[Start], seconds: float, tick: Callable[[float], None]
) -> Writings:
    """Pairs of fresh processes until the time is over, LEAST_PAIRS in any case.

    Raises:
        EngineFailedError: a process failed before two pairs were done.
    """
    prompts = subjects[0].prompts
    found = Writings(subjects, prompts, (TextRuns(prompts), TextRuns(prompts)), {})
    begun, longest, done = time.monotonic(), 0.0, 0
    try:
        while done < LEAST_PAIRS or time.monotonic() - begun + longest < seconds:
            started = time.monotonic()
            _pair(found, starts, seconds / LEAST_PAIRS, backwards=done % 2 == 1)
            done, longest = done + 1, max(longest, time.monotonic() - started)
            tick(min(1.0, done / LEAST_PAIRS, (time.monotonic() - begun) / seconds))
    except EngineFailedError as error:
        if done < 2:
            raise
        found.unfinished = error.told
    return found


def _pair(found: Writings, starts: Sequence[Start], seconds: float, *, backwards: bool) -> None:
    """One process of each side, and turns of both until the seconds are over."""
    begun, prompts = time.monotonic(), found.prompts
    order = (1, 0) if backwards else (0, 1)
    with ExitStack() as stack:
        opened = {side: stack.enter_context(starts[side]()) for side in order}
        for side in order:
            _warm(found.runs[side], opened[side].ready())
        taken: dict[int, tuple[list[list[int]], list[list[int]]]] = {depth: ([], []) for depth in prompts.depths}
        done = 0
        while done < _LEAST or time.monotonic() - begun < seconds:
            for depth in prompts.depths:
                number = found.runs[0].number = found.runs[1].number = found.runs[0].number + 1
                for side in order if done % 2 == 0 else order[::-1]:
                    taken[depth][side].append(write(opened[side], prompts, depth, number))
            done += 1
    _keep(found, taken)


def _warm(runs: TextRuns, engine: Remote) -> None:
    for depth in runs.prompts.depths:
        runs.number += 1
        stamps = write(engine, runs.prompts, depth, runs.number)
        if depth == runs.prompts.depths[0]:
            runs.cold.append(stamps[0])


def _keep(found: Writings, taken: dict[int, tuple[list[list[int]], list[list[int]]]]) -> None:
    """A pair that came to its end."""
    for depth, sides in taken.items():
        for runs, stamps in zip(found.runs, sides, strict=True):
            for one in stamps:
                runs.add(depth, one)
        firsts, laters = ([[(part(one),) for one in stamps] for stamps in sides] for part in (_first, _later))
        for name, (a, b) in ((f"prefill of {depth:,} tokens", firsts), (f"decode behind {depth:,} tokens", laters)):
            found.pairs.setdefault(name, []).append(Turns(a=tuple(a), b=tuple(b)))


def _first(stamps: list[int]) -> int:
    return stamps[0]


def _later(stamps: list[int]) -> int:
    """Of one token but the first, the mean."""
    return round((stamps[-1] - stamps[0]) / (len(stamps) - 1))
