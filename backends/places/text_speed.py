"""A decoder measured in fresh processes: its speed, its memory, and how far it is from what the memory allows."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from itertools import pairwise
from pathlib import Path

from ...profiles.findings.language import Bandwidth, Footprint, Language, Speed
from ...profiles.findings.profile import ColdStart
from ...profiles.machine.bandwidth import PASSES
from ...profiles.machine.conditions import Conditions, disturbances
from ...profiles.machine.held import temporary
from ...profiles.machine.memory import Memory
from ...profiles.timing.taking_turns import HERE as WATCH
from ...profiles.timing.taking_turns import Lookout
from ..base import Engine
from .host import Host
from .job import Job
from .remote import HERE, TIMEOUT, EngineFailedError, Remote
from .text_runs import Prompts, TextRuns

# Fresh processes, seconds of runs in each, and runs of each depth at least.
_EFFORT: dict[str, tuple[int, float, int]] = {"quick": (3, 2.0, 3), "report": (5, 12.0, 5)}
_READ = f"a stream larger than every cache, read by as many threads; the best of {PASSES} passes"
Tick = Callable[[float], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class TextTiming:
    """What was measured of a decoder.

    Attributes:
        memory: of the process that took most.
        depth: tokens that its cache held at most.
        before, after: the machine, with the first engine open and behind the last run.
        cold: from the start of each process to its first token; None where none came to its end.
        machine: bytes a second that this machine reads.
        unfinished: why it ended before its time; empty where it did not.
    """

    speed: Speed
    memory: Memory | None
    depth: int
    before: Conditions
    after: Conditions
    cold: ColdStart | None
    machine: float
    unfinished: str = ""

    @property
    def disturbed(self) -> tuple[str, ...]:
        """Why the figures are not the machine's own."""
        return disturbances(self.before, self.after)

    def told_of(self, found: Language) -> Language:
        """What is known of a decoder, with what was measured."""
        computed = found.memory
        if computed is None:
            why = "nobody reckoned how many bytes a token reads"
            return replace(found, speed=self.speed, missing={**found.missing, "memory": why, "bandwidth": why})
        measured = self.memory is not None and self.memory.peak
        peak = replace(computed, peak=self.memory.peak, peak_depth=self.depth) if self.memory and measured else computed
        return replace(found, speed=self.speed, memory=peak, bandwidth=bandwidth_of(self.speed, computed, self.machine))


@dataclass(slots=True)
class _Found:
    """What was measured so far; it is there when a process fails on the way."""

    runs: TextRuns
    watch: Lookout
    events: list[dict[str, int]] = field(default_factory=list)
    memory: Memory | None = None
    readings: list[Conditions] = field(default_factory=list)


def time_text(
    engine: Engine,
    prompts: Prompts,
    threads: int,
    *,
    name: str,
    mode: str = "quick",
    affinity: tuple[int, ...] | None = None,
    timeout: float = TIMEOUT,
    tick: Tick = lambda share: None,
    host: Host = HERE,
    watch: Lookout = WATCH,
) -> TextTiming:
    """Measure; a crash on the way ends it, and what was measured before is kept and marked.

    Args:
        name: of the decoder, for messages.
        mode: `quick` or `report`: how many processes and runs.
        affinity: cores of the processes; by default the last ones.
        timeout: seconds that a process may be silent.
        host: where the processes run.
        watch: reads that machine.

    Raises:
        EdgepressError: the engine does not open, or fails before there is a median.
    """
    cores = host.cores(threads) if affinity is None else affinity
    found, unfinished = _Found(TextRuns(prompts), watch), ""
    with temporary() as scratch:
        job = Job(engine=host.engine(engine), threads=threads, affinity=cores, decoder=True).save(scratch)
        try:
            _measure(found, lambda: Remote(job, name, timeout, host=host), mode, tick)
        except EngineFailedError as error:
            if not found.runs.enough:
                raise
            unfinished = error.told
            found.readings[1:] = [watch.conditions()]
        machine = measured_bandwidth(threads, cores, scratch, timeout, host)
    return _timing(found, threads, machine, unfinished)


def _timing(found: _Found, threads: int, machine: float, unfinished: str) -> TextTiming:
    """What was found, with what speaks against believing it."""
    before, after = found.readings
    speed, prompts = found.runs.speed(threads), found.runs.prompts
    if (why := "; ".join(disturbances(before, after))) and not speed.unsteady:
        speed = replace(speed, unsteady=why)
    return TextTiming(
        speed=speed,
        memory=found.memory,
        depth=prompts.depths[-1] + prompts.written,
        before=before,
        after=after,
        cold=_cold(found),
        machine=machine,
        unfinished=unfinished,
    )


def _measure(found: _Found, start: Callable[[], Remote], mode: str, tick: Tick) -> None:
    processes, seconds, least = _EFFORT[mode]
    for number in range(processes):
        with start() as engine:
            events = dict(engine.ready().events)
            if not found.readings:
                found.readings.append(found.watch.conditions())
            found.runs.process(engine, seconds, least, _share(tick, number, processes), found.watch)
            found.events.append(events)
            memory = Memory(**engine.ask("memory"))
        if found.memory is None or memory.peak > found.memory.peak:
            found.memory = memory
        found.readings[1:] = [found.watch.conditions()]


def _share(tick: Tick, number: int, processes: int) -> Tick:
    return lambda share: tick((number + share) / processes)


def measured_bandwidth(
    threads: int, cores: tuple[int, ...], scratch: Path, timeout: float = TIMEOUT, host: Host = HERE
) -> float:
    """Bytes a second that so many threads read on these cores, in a process of its own."""
    directory = scratch / "bandwidth"
    directory.mkdir()
    job = Job(engine=None, affinity=cores).save(directory)
    with Remote(job, "the reading of memory", timeout, host=host) as remote:
        passes: list[float] = remote.ready().ask("bandwidth", threads=threads)
    return max(passes)


def _cold(found: _Found) -> ColdStart | None:
    """From the start of each process that came to its end until its first token."""
    if not found.events:
        return None
    names = ("spawned", "started", "imported", "opened")
    spans = [[e[later] - e[earlier] for e in found.events] for earlier, later in pairwise(names)]
    started, imported, opened = map(tuple, spans)
    first = tuple(found.runs.cold[: len(found.events)])
    return ColdStart(started=started, imported=imported, opened=opened, first=first)


def bandwidth_of(speed: Speed, memory: Footprint, machine: float) -> Bandwidth:
    """At the shortest prompt, where the weights are nearly all that is read."""
    one = speed.depths[0]
    token = memory.read_at(one.depth + one.written // 2)
    return Bandwidth(machine=machine, token=token, decode=one.decode.value, how=_READ)
