"""The verdicts as Markdown, for the page that a CI system shows."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from ...profiles.budget.verdict import Verdict
from ...profiles.reporting.text import code, in_markdown
from .outcome import Outcome

WORDS = {
    "met": "met",
    "missed": "**missed**",
    "undecided": "undecided",
    "unstable": "**unstable**",
    "unmeasured": "not measured",
    "unlimited": "no limit",
}


def markdown(outcomes: Sequence[Outcome], problem: str) -> str:
    """A table a target, under one line that says how it ended.

    Args:
        problem: why the run fails; empty where it does not.
    """
    headline = f"failed: {problem}" if problem else "passed"
    return "\n".join(["# edgepress", "", f"**{_cell(headline)}**", "", *_sections(outcomes)])


def _sections(outcomes: Sequence[Outcome]) -> Iterator[str]:
    for outcome in outcomes:
        yield f"## {_cell(outcome.title or outcome.name)}"
        yield ""
        yield from _body(outcome)
        yield ""


def _body(outcome: Outcome) -> Iterator[str]:
    if outcome.failure is not None:
        yield f"{outcome.failure.kind}: {_cell(outcome.failure.message)}"
        if outcome.failure.hint:
            yield ""
            yield _cell(outcome.failure.hint)
    if outcome.skipped:
        yield f"Not done: {_cell(outcome.skipped)}"
    if outcome.verdicts:
        yield "| | verdict | found | limit | |"
        yield "|---|---|---|---|---|"
        yield from (_row(one) for one in outcome.verdicts)
    if outcome.report is not None:
        report = outcome.report
        yield ""
        yield _cell(f"{report.machine}, {report.machine.system}; {report.date}; {code(report.command)}")


def _row(one: Verdict) -> str:
    what, found, limit, reason = map(_cell, (one.what, one.found, one.limit, one.reason))
    return f"| {what} | {WORDS[one.status]} | {found} | {limit} | {reason} |"


def _cell(text: str) -> str:
    return "<br>".join(map(in_markdown, text.splitlines()))
