"""Latency of torch, of floats on the same runtime, and of the engine, interleaved in one run."""

from __future__ import annotations

import platform
from collections.abc import Callable, Mapping
from dataclasses import replace

from ...backends.base import Engine, Feed
from ...profiles.findings.choice import undecided
from ...profiles.timing.in_turn import time_in_turn
from ...profiles.timing.measurement import Measurement, speedup
from ..draft import Draft
from ..progress import Advance
from ..sources import torch_predict
from .judge import is_device, open_session, runner_of

Arms = Mapping[str, Callable[[], object]]


def run(draft: Draft, advance: Advance) -> Draft:
    """Measure where the engine runs on this machine's architecture; say why not otherwise."""
    if reason := unmeasured(draft) or ("" if draft.engine is not None else "the engine is not built here"):
        return draft.without("latency", f"Latency was not measured: {reason}.")
    assert draft.golden is not None
    feed = draft.golden.feeds[0]
    arms = _arms(draft, feed)
    timed = time_in_turn(arms, lambda share: advance(share, ""))
    if draft.recipe.precision == "auto" and _open(timed.latency, draft):
        # One longer look, so that a machine that is busy does not decide what is shipped.
        again = {name: arm for name, arm in arms.items() if name != "torch"}
        timed = timed.and_then(time_in_turn(again, lambda share: advance(share, "once more")))
    for reason in timed.disturbed:
        draft = draft.without(f"disturbed {reason}", f"The latencies are not the machine's own: {reason}.")
    shape = ", ".join(f"{name} {tuple(array.shape)}" for name, array in feed.items())
    return replace(draft, latency=timed.latency, latency_shape=shape, conditions=(timed.before, timed.after))


def unmeasured(draft: Draft) -> str:
    """Why an engine of this draft cannot be measured here, one clause; empty where it can."""
    if not draft.recipe.measure:
        return "it was switched off (--no-measure)"
    here = draft.backend.available()
    if not here.run:
        return "the engine is not built here" if draft.backend.obstacle(draft.target) else here.reason
    if not is_device(draft.target):
        return f"this machine is {platform.machine()}, the target {draft.target.arch}"
    return ""


def _open(found: Mapping[str, Measurement], draft: Draft) -> bool:
    """Whether it is still open if the engine is faster than some rival."""
    return any(undecided(speedup(found[rival], found["engine"])) for rival in draft.rivals if rival in found)


def _arms(draft: Draft, feed: Feed) -> Arms:
    session = open_session(draft, runner_of(draft))
    arms: dict[str, Callable[[], object]] = {"engine": session.bind(feed)}
    for precision, rival in draft.rivals.items():
        if precision != draft.precision:
            arms[precision] = _call(draft, rival.engine, feed)
    given = draft.original or draft.source
    if given.module is not None:
        predict = torch_predict(given, draft.threads)
        arms["torch"] = lambda: predict(feed)
    return arms


def _call(draft: Draft, engine: Engine, feed: Feed) -> Callable[[], object]:
    return draft.sessions.get(draft.backend, engine, draft.target, draft.threads).bind(feed)
