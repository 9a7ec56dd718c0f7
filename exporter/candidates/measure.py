"""Latency of candidates, which take turns in fresh processes. Nothing here needs torch or onnx."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from ...backends.base import Engine, Feed
from ...backends.places import Place
from ...profiles.findings.gap import Gap
from ...profiles.machine.held import temporary
from ...profiles.timing.in_turn import Timed, time_in_turn
from ...profiles.timing.measure import Call
from ...profiles.timing.taking_turns import Opener

Tick = Callable[[float], None]


def measure_in_turn(
    engines: Mapping[str, Engine],
    feed: Feed,
    place: Place,
    threads: int,
    tick: Tick = lambda share: None,
    beside: Mapping[str, Call] | None = None,
) -> Timed:
    """Latencies by arm.

    Args:
        engines: at least one, by arm.
        feed: one inference.
        beside: calls of this process, of which nothing is to be decided.

    Raises:
        EngineFailedError: an engine does not open, or crashed.
    """
    with temporary() as directory:
        openers: dict[str, Opener] = {}
        for arm, engine in engines.items():
            scratch = directory / arm
            scratch.mkdir()
            openers[arm] = place.opener(engine, feed, threads, scratch)
        return time_in_turn(openers, tick, beside, watch=place.watch)


def disturbed(timed: Timed) -> tuple[Gap, ...]:
    """Why latencies are not the machine's own, as what is missing of them."""
    return tuple(
        Gap(about="disturbed", why=f"The latencies are not the machine's own: {reason}.", subject=reason)
        for reason in timed.disturbed
    )
