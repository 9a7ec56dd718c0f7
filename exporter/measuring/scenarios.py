"""The three ways of use that are measured: one inference at a time, many samples at once, and the first answer."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path

from ...backends.base import AxisRange
from ...backends.places.host import Host
from ...backends.places.remote import EngineFailedError, Remote
from ...profiles.findings.layers import Layer
from ...profiles.findings.profile import ColdStart, Throughput
from ...profiles.machine.conditions import Conditions, read_conditions
from ...profiles.machine.energy import Energy, Meter
from ...profiles.machine.memory import Memory
from ...profiles.timing.measure import Record, Settings, interleave
from ...profiles.timing.measurement import Measurement

SCENARIOS = ("single-stream", "offline", "cold-start")
BATCHES = (1, 4, 16)
WINDOWS = 4  # of time, for each batch and number of streams, twice
_COLD_PROCESSES = {"quick": 5, "report": 20}
_OFFLINE_SECONDS = {"quick": 1.0, "report": 10.0}
Tick = Callable[[float], None]
Start = Callable[[], Remote]


@dataclass(frozen=True, slots=True, kw_only=True)
class SingleStream:
    """What a process that ran one inference at a time gave; `failure` says why that ended early."""

    measurement: Measurement | None = None
    before: Conditions | None = None
    after: Conditions | None = None
    energy: Energy | None = None
    memory: Memory | None = None
    layers: tuple[Layer, ...] = ()
    failure: str = ""


@dataclass(slots=True)
class _Watch:
    """Reads the machine and the meter when the warm-up is over, and again at the end."""

    meter: Meter | None
    conditions: Callable[[], Conditions]
    readings: list[Conditions] = field(default_factory=list)

    def begin(self) -> None:
        self.readings.append(self.conditions())
        if self.meter is not None:
            self.meter.start()

    def end(self) -> float:
        """Joules since `begin`."""
        joules = self.meter.stop() if self.meter is not None else 0.0
        self.readings.append(self.conditions())
        return joules


def single_stream(
    start: Start,
    settings: Settings,
    meter: Meter | None,
    tick: Tick,
    conditions: Callable[[], Conditions] = read_conditions,
) -> SingleStream:
    """Latency of one inference at a time in a fresh process; what was taken before a failure is kept.

    Args:
        conditions: reads the machine of the process.

    Raises:
        EdgepressError: the engine does not open.
    """
    record, watch = Record(), _Watch(meter, conditions)
    with start() as engine:
        engine.ready()
        try:
            interleave({"engine": engine}, {"engine": record}, settings, tick, watch.begin)
            joules = watch.end()
            rest = _rest(engine, meter, joules, record.spent)
        except EngineFailedError as error:
            if meter is not None and watch.readings[:1] and not watch.readings[1:]:
                meter.stop()
            rest = SingleStream(failure=error.told)
    readings = [*watch.readings, None, None]
    found = record.measurement(settings) if record.samples else None
    return SingleStream(
        measurement=found,
        before=readings[0],
        after=readings[1],
        energy=rest.energy,
        memory=rest.memory,
        layers=rest.layers,
        failure=rest.failure,
    )


def _rest(engine: Remote, meter: Meter | None, joules: float, seconds: float) -> SingleStream:
    """What the process tells when the timing is over."""
    calls = int(engine.ask("calls"))
    source = "" if meter is None else meter.source
    energy = Energy(joules=joules, inferences=calls, seconds=seconds, source=source) if source and joules > 0 else None
    memory = Memory(**engine.ask("memory"))
    return SingleStream(energy=energy, memory=memory, layers=engine.layers())


def cold_start(start: Start, mode: str, tick: Tick) -> ColdStart:
    """Fresh processes, one after the other, from their start to the first answer.

    Raises:
        EngineFailedError: one of them crashed or is silent.
    """
    events = []
    count = _COLD_PROCESSES[mode]
    for index in range(count):
        with start() as engine:
            events.append(engine.ready().events)
        tick((index + 1) / count)
    names = ("spawned", "started", "imported", "opened", "first")
    spans = [[e[later] - e[earlier] for e in events] for earlier, later in pairwise(names)]
    started, imported, opened, first = map(tuple, spans)
    return ColdStart(started=started, imported=imported, opened=opened, first=first)


def offline(
    start: Start, mode: str, threads: int, batches: Sequence[int], streams: Sequence[int], tick: Tick
) -> tuple[Throughput, ...]:
    """Samples a second by batch and number of streams, each measured twice, the second time in reverse order.

    Raises:
        EngineFailedError: the process crashed or is silent.
    """
    seconds = _OFFLINE_SECONDS[mode]
    points = [(batch, count) for batch in batches for count in streams]
    windows: dict[tuple[int, int], list[float]] = {point: [] for point in points}
    with start() as engine:
        engine.ready()
        for done, (batch, count) in enumerate([*points, *reversed(points)]):
            rates = engine.ask("offline", seconds, batch=batch, streams=count, seconds=seconds, windows=WINDOWS)
            windows[batch, count] += rates
            tick((done + 1) / (2 * len(points)))
    return tuple(
        Throughput(batch=batch, streams=count, threads=max(1, threads // count), windows=tuple(windows[batch, count]))
        for batch, count in points
    )


def usual_batches(axis: AxisRange | None, fed: int) -> tuple[int, ...]:
    """Batches to try: the usual ones within the engine's range, or the only one that it takes."""
    if axis is None:
        return (fed,)
    return tuple(size for size in BATCHES if axis.smallest <= size <= axis.largest) or (axis.usual,)


def usual_streams(threads: int) -> tuple[int, ...]:
    """1, 2, 4 ... up to one stream a thread."""
    return tuple(2**power for power in range(threads.bit_length()))


def starter(job: Path, name: str, timeout: float, host: Host) -> Start:
    """Starts processes of a host for a job."""
    return lambda: Remote(job, name, timeout, host=host)
