"""The user's own metric, before and after."""

from __future__ import annotations

from dataclasses import replace

from ...backends.base import Array, Feed
from ...profiles.report import TaskMetric
from ..draft import Draft
from ..emulator import emulated, emulator
from ..progress import Advance
from ..score import score
from ..sources import Predict
from .verify import open_session, runner_of


def run(draft: Draft, advance: Advance) -> Draft:
    """Call the model file's `evaluate` with the FP32 graph and with what is shipped.

    Raises:
        InputError: `evaluate` raised, or did not return a finite number.
    """
    if draft.source.evaluate is None:
        return draft.without("task", "No task metric: the source has no evaluate().")
    runner = runner_of(draft)
    after = _call(draft, _counting(open_session(draft, runner), advance, "shipped"))
    before = _call(draft, _counting(_reference(draft), advance, "FP32"))
    return replace(draft, task=TaskMetric(before=before, after=after, how=runner.how))


def _reference(draft: Draft) -> Predict:
    """The FP32 graph, whose parity with the torch module is proven, on the reference runtime."""
    assert draft.reference is not None
    return draft.sessions.get(emulator(), emulated(draft.reference), draft.target, draft.threads)


def _counting(predict: Predict, advance: Advance, label: str) -> Predict:
    calls = 0

    def counted(feed: Feed) -> dict[str, Array]:
        nonlocal calls
        calls += 1
        advance(None, f"{label}, batch {calls}")
        return predict(feed)

    return counted


def _call(draft: Draft, predict: Predict) -> float:
    assert draft.source.evaluate is not None
    return score(draft.source.evaluate, predict)
