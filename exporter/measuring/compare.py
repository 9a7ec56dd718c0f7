"""`edgepress compare`: two engines in fresh processes that take turns; or one against what was measured before."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from pathlib import Path

from ...backends.base import Feed
from ...backends.places.remote import TIMEOUT, EngineFailedError
from ...errors import InputError
from ...profiles.findings.comparison import Comparison, Side, incomparable
from ...profiles.findings.parity import worst
from ...profiles.findings.profile import Profile, Setup
from ...profiles.machine.conditions import Conditions, disturbances
from ...profiles.machine.environment import now
from ...profiles.machine.held import temporary
from ...profiles.timing.measure import Settings, is_steady
from ...profiles.timing.measurement import Latency, Measurement
from ...profiles.timing.taking_turns import Limits, take_turns
from ...profiles.timing.turns import LatencyComparison, Turn, Turns, compare_apart, compare_turns
from .profile import ProfilePlan, Step, profile
from .scenarios import Start, Tick, starter
from .subject import Subject
from .writing_in_turn import prompted_alike, take_turns_writing

SECONDS = 50.0
PRECISION = 0.01  # half of the interval's width at which more pairs are not worth their time


@dataclass(frozen=True, slots=True, kw_only=True)
class Rules:
    """How long a comparison may take and what it overlooks.

    Attributes:
        seconds: of wall time for all of it; LEAST_PAIRS pairs of processes run in any case.
        precision: half of the interval's width, as a share, at which it ends early.
        force: compare what does not compare.
        timeout: seconds that an engine may be silent beyond what it was asked to take.
    """

    seconds: float = SECONDS
    precision: float = PRECISION
    force: bool = False
    timeout: float = TIMEOUT


@dataclass(slots=True)
class _Run:
    """What was taken so far; it is there when an engine fails on the way."""

    pairs: list[Turns]
    unfinished: str = ""


def compare(a: Subject, b: Subject, setup: Setup, rules: Rules, command: str, tick: Tick) -> Comparison:
    """Two engines on one machine.

    Raises:
        InputError: their inputs differ, and `force` is not set.
        EngineFailedError: an engine failed before two pairs of processes were done.
    """
    if a.decoder is not None or b.decoder is not None:
        return _decoders(a, b, setup, rules, command, tick)
    a, b = _fed_alike(a, b)
    forced = _allowed(incomparable(a.measured, b.measured, setup, setup), rules)
    begun, before = time.monotonic(), a.place.conditions()
    run = _Run([])
    with temporary() as scratch:
        starts = [_starter(subject, name, setup, scratch, rules) for name, subject in (("A", a), ("B", b))]
        try:
            limits = Limits(seconds=rules.seconds, precision=rules.precision)
            for one in take_turns(starts, limits, tick, watch=a.place.watch):
                run.pairs.append(Turns(a=one.turns[0], b=one.turns[1]))
        except EngineFailedError as error:
            if len(run.pairs) < 2:
                raise
            run.unfinished = error.told
    after = a.place.conditions()
    return Comparison(
        a=_side(a, [pair.a for pair in run.pairs]),
        b=_side(b, [pair.b for pair in run.pairs]),
        outcome=compare_turns(run.pairs, unfinished=run.unfinished),
        setup=setup,
        date=now(),
        command=command,
        seconds=time.monotonic() - begun,
        pairs=tuple(run.pairs),
        before=before,
        after=after,
        forced=forced,
        disturbed=_slowed(before, after),
    )


def _decoders(a: Subject, b: Subject, setup: Setup, rules: Rules, command: str, tick: Tick) -> Comparison:
    """Two decoders."""
    if a.decoder is None or b.decoder is None:
        other = a.name if a.decoder is None else b.name
        raise InputError(f"One of these is a decoder and {other} is none: their times do not compare.")
    a, b = prompted_alike(a, b)
    forced = _allowed(incomparable(a.measured, b.measured, setup, setup), rules)
    begun, before = time.monotonic(), a.place.conditions()
    with temporary() as scratch:
        starts = [_starter(subject, name, setup, scratch, rules) for name, subject in (("A", a), ("B", b))]
        found = take_turns_writing((a, b), starts, rules.seconds, tick)
    after = a.place.conditions()
    sides = [_described(one, found.latency(index)) for index, one in enumerate((a, b))]
    speeds = found.outcomes()
    first = next(name for name in speeds if name.startswith("decode"))
    return Comparison(
        a=replace(sides[0], language=found.language(0, setup.threads)),
        b=replace(sides[1], language=found.language(1, setup.threads)),
        outcome=speeds[first],
        setup=setup,
        date=now(),
        command=command,
        seconds=time.monotonic() - begun,
        pairs=tuple(found.pairs[first]),
        before=before,
        after=after,
        forced=forced,
        disturbed=_slowed(before, after),
        speeds=speeds,
    )


def compare_stored(
    a: Subject | Profile, b: Subject | Profile, setup: Setup, rules: Rules, command: str, step: Step
) -> Comparison:
    """At least one side is a measurement that was taken before; the other is measured now, in the same way.

    Raises:
        InputError: the two do not compare, and `force` is not set; or a measurement has no latencies.
    """
    begun = time.monotonic()
    stored = next(side for side in (a, b) if isinstance(side, Profile))
    if any(one.language is not None if isinstance(one, Profile) else one.decoder is not None for one in (a, b)):
        raise InputError("Decoders compare as bundles only: a measurement keeps no times of single runs.")
    plan = ProfilePlan(mode=stored.mode, scenarios=("single-stream",), timeout=rules.timeout)
    if not isinstance(a, Profile) or not isinstance(b, Profile):
        # Before any time is spent.
        live = next(side for side in (a, b) if not isinstance(side, Profile))
        _allowed(incomparable(stored.measured, live.measured, stored.setup, setup), rules)
    first, second = (one if isinstance(one, Profile) else profile(one, setup, plan, command, step) for one in (a, b))
    forced = _allowed(incomparable(first.measured, second.measured, first.setup, second.setup), rules)
    for one in (first, second):
        if not one.single_stream:
            raise InputError(f"The measurement of {one.measured.name} has no latencies of single inferences.")
    return Comparison(
        a=_side_of(first, a),
        b=_side_of(second, b),
        outcome=_weaker(first, second, both=isinstance(a, Profile) and isinstance(b, Profile)),
        setup=setup if stored is not a or not isinstance(b, Profile) else first.setup,
        date=now(),
        command=command,
        seconds=time.monotonic() - begun,
        forced=forced,
        disturbed=(*first.disturbed, *second.disturbed),
    )


def _weaker(first: Profile, second: Profile, *, both: bool) -> LatencyComparison:
    when = "both were measured before" if both else "one side was measured before"
    why = f"{when}, so that the machine may have changed in between, and each in one process"
    found = compare_apart(first.single_stream, second.single_stream, why)
    unsteady = [one.measured.name for one in (first, second) if not one.stable]
    if not unsteady:
        return found
    why += f"; {' and '.join(unsteady)} reached no steady state"
    return replace(found, verdict="no difference shown", weaker=why)


def _fed_alike(a: Subject, b: Subject) -> tuple[Subject, Subject]:
    """Both with the same input, where one of the two inputs fits both engines."""
    if _fits(a.feed, b):
        return a, replace(b, feed=a.feed)
    if _fits(b.feed, a):
        return replace(a, feed=b.feed), b
    return a, b


def _fits(feed: Feed, subject: Subject) -> bool:
    specs = {spec.name: spec for spec in subject.engine.inputs}
    return specs.keys() == feed.keys() and not any(spec.mismatch(feed[name]) for name, spec in specs.items())


def _allowed(reasons: tuple[str, ...], rules: Rules) -> tuple[str, ...]:
    """The reasons, where the user wants to compare nevertheless.

    Raises:
        InputError: there are some, and the user does not.
    """
    if reasons and not rules.force:
        raise InputError(f"These do not compare: {'; '.join(reasons)}.", hint="Compare nevertheless with --force.")
    return reasons


def _starter(subject: Subject, name: str, setup: Setup, scratch: Path, rules: Rules) -> Start:
    directory = scratch / name
    directory.mkdir()
    job = subject.job(setup).save(directory, subject.feed if subject.decoder is None else None)
    return starter(job, f"{name} ({subject.name})", rules.timeout, subject.place.host)


def _side(subject: Subject, runs: list[tuple[Turn, ...]]) -> Side:
    samples = tuple(sample for run in runs for turn in run for sample in turn)
    rounds = tuple(index for index, run in enumerate(runs) for turn in run for _ in turn)
    stable = is_steady(list(samples), Settings().steady)
    latency = Measurement(samples=samples, rounds=rounds, stable=stable).latency()
    return _described(subject, latency)


def _side_of(found: Profile, given: Subject | Profile) -> Side:
    latency = found.single_stream[0].latency()
    if isinstance(given, Profile):
        size = None if found.size is None else found.size.total
        why = "a measurement has none: give the bundle itself"
        return Side(measured=found.measured, latency=latency, size=size, absent={"accuracy": why})
    return _described(given, latency)


def _described(subject: Subject, latency: Latency) -> Side:
    report = subject.report
    parity = report.parity.get("engine") if report is not None else None
    absent = {} if report is not None and report.task is not None else {"accuracy": _no_metric(subject)}
    return Side(
        measured=subject.measured,
        latency=latency,
        size=subject.size().total,
        task=None if report is None else report.task,
        parity=worst(parity) if parity else None,
        absent=absent,
    )


def _no_metric(subject: Subject) -> str:
    if subject.report is None:
        return "an ONNX file has no metric"
    return subject.report.why_no("task", "the bundle has no metric").rstrip(".")


def _slowed(before: Conditions, after: Conditions) -> tuple[str, ...]:
    """Throttling; a clock that falls between two idle moments says nothing, and both engines met it."""
    return disturbances(replace(before, clocks={}), replace(after, clocks={}))
