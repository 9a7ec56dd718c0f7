"""`edgepress profile`: measure one engine in fresh processes."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any

from ...backends.base import AxisRange
from ...backends.places.remote import TIMEOUT, EngineFailedError
from ...errors import InputError
from ...profiles.findings.profile import Profile, Setup
from ...profiles.machine.conditions import disturbances
from ...profiles.machine.energy import Meter
from ...profiles.machine.environment import now
from ...profiles.machine.held import temporary
from ...profiles.reading.near import did_you_mean
from ...profiles.timing.measure import MODES
from .decoders import need_decoder_plan, profile_decoder
from .scenarios import (
    SCENARIOS,
    SingleStream,
    Start,
    Tick,
    cold_start,
    offline,
    single_stream,
    starter,
    usual_batches,
    usual_streams,
)
from .subject import Subject

Step = Callable[[str], AbstractContextManager[Tick]]


@dataclass(frozen=True, slots=True, kw_only=True)
class ProfilePlan:
    """What to measure and for how long.

    Attributes:
        mode: a key of `MODES`.
        scenarios: some of SCENARIOS.
        batches: for `offline`; None tries the usual ones.
        streams: for `offline`; None tries 1, 2, 4 ... up to the threads.
        timeout: seconds that the engine may be silent beyond what it was asked to take.
    """

    mode: str = "quick"
    scenarios: tuple[str, ...] = SCENARIOS
    batches: tuple[int, ...] | None = None
    streams: tuple[int, ...] | None = None
    timeout: float = TIMEOUT


def profile(subject: Subject, setup: Setup, plan: ProfilePlan, command: str, step: Step) -> Profile:
    """Measure; a crash on the way ends it, and what was measured before is kept and marked.

    Args:
        command: how to do it again.
        step: shows a scenario while it runs.

    Raises:
        InputError: a batch that the engine does not take.
        EdgepressError: the engine does not open.
    """
    if subject.decoder is not None:
        whole = plan.scenarios == SCENARIOS
        need_decoder_plan(scenarios=not whole, batches=bool(plan.batches), streams=bool(plan.streams))
        return profile_decoder(subject, setup, plan.mode, plan.timeout, command, step)
    _check(subject, plan)
    found: dict[str, Any] = {}
    missing = {name: "it was not asked for" for name in SCENARIOS if name not in plan.scenarios}
    with temporary() as scratch:
        start = starter(subject.job(setup).save(scratch, subject.feed), subject.name, plan.timeout, subject.place.host)
        try:
            for part in _parts(start, subject, setup, plan, missing, step):
                found |= part
        except EngineFailedError as error:
            if not found:
                raise
            found["unfinished"] = error.told
    return Profile(
        measured=subject.measured,
        setup=setup,
        mode=plan.mode,
        settings=MODES[plan.mode],
        date=now(),
        command=command,
        size=subject.size(),
        missing=missing,
        **found,
    )


def _parts(
    start: Start, subject: Subject, setup: Setup, plan: ProfilePlan, missing: dict[str, str], step: Step
) -> Iterator[dict[str, Any]]:
    """Fields of `Profile`, scenario by scenario; it ends where an engine failed."""
    if "cold-start" in plan.scenarios:
        with step("cold start") as tick:
            yield {"cold_start": cold_start(start, plan.mode, tick)}
    if "single-stream" in plan.scenarios:
        with step("single stream") as tick:
            one = _single_stream(start, subject, plan, missing, tick)
        yield _fields(one)
        if one.failure:
            return
    if "offline" in plan.scenarios:
        with step("offline") as tick:
            yield {"offline": _offline(start, subject, setup, plan, tick)}


def _single_stream(
    start: Start, subject: Subject, plan: ProfilePlan, missing: dict[str, str], tick: Tick
) -> SingleStream:
    """One process; why there is no energy figure goes into `missing`."""
    meter = subject.place.meter(subject.target)
    if isinstance(meter, str):
        missing["energy"] = meter
    usable: Meter | None = None if isinstance(meter, str) else meter
    one = single_stream(start, MODES[plan.mode], usable, tick, subject.place.conditions)
    for reading in (one.before, one.after):
        missing |= reading.absent if reading is not None else {}
    return one


def _fields(one: SingleStream) -> dict[str, Any]:
    """The fields of `Profile` that a single stream gives."""
    readings = (one.before, one.after)
    return {
        "single_stream": () if one.measurement is None else (one.measurement,),
        "before": one.before,
        "after": one.after,
        "energy": one.energy,
        "memory": one.memory,
        "layers": one.layers,
        "unfinished": one.failure,
        "disturbed": disturbances(*readings) if None not in readings else (),  # type: ignore[arg-type]
    }


def _offline(start: Start, subject: Subject, setup: Setup, plan: ProfilePlan, tick: Tick) -> Any:
    batches = plan.batches or usual_batches(subject.batch, _fed(subject))
    streams = plan.streams or usual_streams(setup.threads)
    return offline(start, plan.mode, setup.threads, batches, streams, tick)


def _check(subject: Subject, plan: ProfilePlan) -> None:
    """Refuse batches that the engine does not take, before anything runs."""
    fed = _fed(subject)
    axis = subject.batch or AxisRange(smallest=fed, usual=fed, largest=fed)
    bad = [str(size) for size in plan.batches or () if not axis.smallest <= size <= axis.largest]
    if bad:
        takes = f"batches of {axis.smallest} to {axis.largest}" if axis.smallest < axis.largest else f"a batch of {fed}"
        raise InputError(f"{subject.name} takes {takes}, not of {', '.join(bad)}.", hint="Change --batches.")


def _fed(subject: Subject) -> int:
    """The batch of the subject's own input; 1 where an input has no axes."""
    shape = next(iter(subject.feed.values())).shape
    return int(shape[0]) if shape else 1


def chosen(names: Sequence[str]) -> tuple[str, ...]:
    """The scenarios that were named, in their order; all where none was.

    Raises:
        InputError: an unknown one; the nearest is named.
    """
    for name in names:
        if name not in SCENARIOS:
            hint = did_you_mean(name, SCENARIOS, 1, otherwise="Leave out --scenario for all of them.")
            raise InputError(f"Unknown scenario {name!r}; there are {', '.join(SCENARIOS)}.", hint=hint)
    return tuple(name for name in SCENARIOS if name in names) or SCENARIOS
