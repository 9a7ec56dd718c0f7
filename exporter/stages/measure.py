"""Latency of torch, of FP32 on the same runtime, and of the engine, interleaved in one run."""

from __future__ import annotations

import platform
from collections.abc import Callable, Mapping
from dataclasses import replace

from ...backends.base import Feed
from ...profiles.measure import measure, speedup
from ..draft import Draft
from ..progress import Advance
from ..sources import torch_predict
from .verify import is_device, open_session, runner_of


def run(draft: Draft, advance: Advance) -> Draft:
    """Measure where the engine runs on this machine's architecture; say why not otherwise."""
    if reason := _why_not(draft):
        return draft.without("latency", f"Latency was not measured: {reason}.")
    assert draft.golden is not None
    feed = draft.golden.feeds[0]
    found = measure(_arms(draft, feed), tick=lambda share: advance(share, ""))
    for arm in (name for name, m in found.items() if not m.stable):
        draft = draft.without(f"steady {arm}", f"Latency of {arm} did not reach a steady state.")
    faster = speedup(found["fp32"], found["engine"]) if "fp32" in found else None
    shape = ", ".join(f"{name} {tuple(array.shape)}" for name, array in feed.items())
    if faster is not None and faster.value < 1:
        draft = draft.without("speed", f"{draft.precision} is not faster than FP32 on this machine: {faster}.")
    return replace(draft, latency=found, latency_shape=shape, faster=faster)


def _why_not(draft: Draft) -> str:
    if not draft.recipe.measure:
        return "it was switched off (--no-measure)"
    if draft.engine is None:
        return "the engine is not built here"
    here = draft.backend.available()
    if not here.run:
        return here.reason
    if not is_device(draft.target):
        return f"this machine is {platform.machine()}, the target {draft.target.arch}"
    return ""


def _arms(draft: Draft, feed: Feed) -> Mapping[str, Callable[[], object]]:
    session = open_session(draft, runner_of(draft))
    arms: dict[str, Callable[[], object]] = {"engine": lambda: session(feed)}
    if draft.reference_engine is not None and draft.reference_engine is not draft.engine:
        reference = draft.sessions.get(draft.backend, draft.reference_engine, draft.target, draft.threads)
        arms["fp32"] = lambda: reference(feed)
    given = draft.original or draft.source
    if given.module is not None:
        predict = torch_predict(given, draft.threads)
        arms["torch"] = lambda: predict(feed)
    return arms
