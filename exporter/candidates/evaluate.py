"""The user's own metric, before and after."""

from __future__ import annotations

from dataclasses import replace

from ...backends.base import Array, Feed
from ...backends.places.reference import emulated, emulator
from ...profiles.findings.report import TaskMetric
from ..draft import Draft
from ..progress import Advance
from ..sources import Predict, torch_predict
from ..sources.score import score
from .judge import open_session, runner_of


def run(draft: Draft, advance: Advance) -> Draft:
    """Call the model file's `evaluate` with the model as given and with what is shipped.

    Raises:
        InputError: `evaluate` raised, or did not return a finite number.
    """
    if draft.source.evaluate is None:
        return draft.without("task", "No task metric: the source has no evaluate().")
    runner = runner_of(draft)
    after = score(draft.source.evaluate, _counting(open_session(draft, runner), advance, "shipped"))
    return replace(draft, task=TaskMetric(before=baseline(draft, advance), after=after, how=runner.how))


def baseline(draft: Draft, advance: Advance) -> float:
    """The metric of the model as given, asked for once in a run."""
    assert draft.source.evaluate is not None and draft.reference is not None
    given = draft.original or draft.source
    key = (draft.target.opset, given.digest)
    if key not in draft.shared.metrics:
        predict = _counting(_reference(draft), advance, "FP32")
        draft.shared.metrics[key] = score(draft.source.evaluate, predict)
    return draft.shared.metrics[key]


def _reference(draft: Draft) -> Predict:
    """The module before anything changed it, else its FP32 graph, whose parity with it is proven, on the emulator."""
    assert draft.reference is not None
    if draft.original is not None:
        return torch_predict(draft.original, draft.threads)
    return draft.sessions.get(emulator(), emulated(draft.reference), draft.target, draft.threads)


def _counting(predict: Predict, advance: Advance, label: str) -> Predict:
    calls = 0

    def counted(feed: Feed) -> dict[str, Array]:
        nonlocal calls
        calls += 1
        advance(None, f"{label}, batch {calls}")
        return predict(feed)

    return counted
