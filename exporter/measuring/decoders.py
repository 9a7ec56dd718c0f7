"""`edgepress profile` of a decoder: its speed, its memory, and how far it is from what the memory allows."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass, field, replace
from itertools import pairwise
from pathlib import Path
from typing import Any

from ...backends.places.job import Job
from ...backends.places.remote import EngineFailedError, Remote
from ...errors import InputError
from ...profiles.findings.language import Bandwidth, Footprint, Language, Speed
from ...profiles.findings.profile import ColdStart, Profile, Setup
from ...profiles.machine.bandwidth import PASSES
from ...profiles.machine.conditions import Conditions, disturbances, read_conditions
from ...profiles.machine.environment import now
from ...profiles.machine.held import temporary
from ...profiles.machine.memory import Memory
from ...profiles.timing.measure import MODES
from .scenarios import Start, Tick, starter
from .subject import Subject
from .writing import Runs

# Fresh processes, seconds of runs in each, and runs of each depth at least.
_EFFORT = {"quick": (3, 2.0, 3), "report": (5, 12.0, 5)}
_READ = f"a stream larger than every cache, read by as many threads; the best of {PASSES} passes"
Step = Callable[[str], AbstractContextManager[Tick]]


@dataclass(slots=True)
class _Found:
    """What was measured so far."""

    runs: Runs
    events: list[dict[str, int]] = field(default_factory=list)
    memory: Memory | None = None
    readings: list[Conditions] = field(default_factory=list)
    machine: float = 0.0
    unfinished: str = ""


def profile_decoder(subject: Subject, setup: Setup, mode: str, timeout: float, command: str, step: Step) -> Profile:
    """Measure; a crash on the way ends it, and what was measured before is kept and marked.

    Raises:
        EdgepressError: the engine does not open, or fails before there is a median.
    """
    found = _Found(Runs(subject.prompts))
    with temporary() as scratch:
        start = starter(subject.job(setup).save(scratch), subject.name, timeout)
        try:
            with step("read and write") as tick:
                _measure(found, start, mode, tick)
        except EngineFailedError as error:
            if not found.runs.enough:
                raise
            found.unfinished = error.told
        with step("bandwidth"):
            found.machine = measured_bandwidth(setup, scratch, timeout)
    return Profile(
        measured=subject.measured,
        setup=setup,
        mode=mode,
        settings=MODES[mode],
        date=now(),
        command=command,
        size=subject.size(),
        cold_start=_cold(found),
        **_fields(subject, setup, found),
    )


def _measure(found: _Found, start: Start, mode: str, tick: Tick) -> None:
    processes, seconds, least = _EFFORT[mode]
    for number in range(processes):
        with start() as engine:
            events = dict(engine.ready().events)
            if not found.readings:
                found.readings.append(read_conditions())
            found.runs.process(engine, seconds, least, _share(tick, number, processes))
            found.events.append(events)
            memory = Memory(**engine.ask("memory"))
        if found.memory is None or memory.peak > found.memory.peak:
            found.memory = memory
        found.readings[1:] = [read_conditions()]


def _share(tick: Tick, number: int, processes: int) -> Tick:
    return lambda share: tick((number + share) / processes)


def measured_bandwidth(setup: Setup, scratch: Path, timeout: float) -> float:
    """Bytes a second that so many threads read on the cores of the setup, in a process of its own."""
    directory = scratch / "bandwidth"
    directory.mkdir()
    job = Job(engine=None, affinity=setup.affinity).save(directory)
    with Remote(job, "the reading of memory", timeout) as remote:
        passes: list[float] = remote.ready().ask("bandwidth", threads=setup.threads)
    return max(passes)


def _cold(found: _Found) -> ColdStart | None:
    """From the start of each process that came to its end until its first token."""
    names = ("spawned", "started", "imported", "opened")
    spans = [[e[later] - e[earlier] for e in found.events] for earlier, later in pairwise(names)]
    if not found.events:
        return None
    started, imported, opened = map(tuple, spans)
    first = tuple(found.runs.cold[: len(found.events)])
    return ColdStart(started=started, imported=imported, opened=opened, first=first)


def _fields(subject: Subject, setup: Setup, found: _Found) -> dict[str, Any]:
    """Fields of `Profile`."""
    missing = {
        "single-stream": "a decoder's latency depends on its prompt; its speed is in tokens a second",
        "offline": "several texts at once were not measured",
        "energy": "it is not measured of a decoder",
    }
    readings = [*found.readings, None, None]
    before, after = readings[:2]
    disturbed = () if before is None or after is None else disturbances(before, after)
    speed = found.runs.speed(setup.threads)
    if disturbed and not speed.unsteady:
        speed = replace(speed, unsteady="; ".join(disturbed))
    return {
        "memory": found.memory,
        "before": before,
        "after": after,
        "disturbed": disturbed,
        "unfinished": found.unfinished,
        "language": _language(subject, speed, found),
        "missing": missing,
    }


def _language(subject: Subject, speed: Speed, found: _Found) -> Language:
    """What was measured, beside what the bundle computed of its files."""
    entry = subject.decoder
    assert entry is not None
    missing = {"parity": "a profile measures speed; the bundle's report has what its text lost"}
    computed = None if subject.report is None or subject.report.language is None else subject.report.language.memory
    if computed is None:
        missing["memory"] = missing["bandwidth"] = "the bundle does not tell how many bytes a token reads"
        return Language(context=entry.context, vocabulary=entry.vocabulary, speed=speed, missing=missing)
    return Language(
        context=entry.context,
        vocabulary=entry.vocabulary,
        speed=speed,
        memory=_footprint(computed, subject, found.memory),
        bandwidth=bandwidth_of(speed, computed, found.machine),
        missing=missing,
    )


def _footprint(computed: Footprint, subject: Subject, memory: Memory | None) -> Footprint:
    if memory is None or not memory.peak:
        return computed
    prompts = subject.prompts
    return replace(computed, peak=memory.peak, peak_depth=prompts.depths[-1] + prompts.written)


def bandwidth_of(speed: Speed, memory: Footprint, machine: float) -> Bandwidth:
    """At the shortest prompt, where the weights are nearly all that is read."""
    one = speed.depths[0]
    token = memory.read_at(one.depth + one.written // 2)
    return Bandwidth(machine=machine, token=token, decode=one.decode.value, how=_READ)


def need_decoder_plan(*, scenarios: bool, batches: bool, streams: bool) -> None:
    """Refuse what has no meaning for a decoder, before anything runs.

    Raises:
        InputError: something of it was given.
    """
    given = [f"--{name}" for name, one in (("scenario", scenarios), ("batches", batches), ("streams", streams)) if one]
    if given:
        raise InputError(
            f"A decoder is measured in one way, one text at a time; {', '.join(given)} would change nothing.",
            hint=f"Leave out {' and '.join(given)}.",
        )
