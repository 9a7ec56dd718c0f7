"""A report of lint for a terminal and for programs."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from .finding import Finding, LintReport

# Nodes of one finding that are named before the rest is counted.
NAMED = 3


def report_lines(report: LintReport) -> Iterator[str]:
    """What a person reads: each fault once, with the nodes that have it."""
    counts = f"{_count(len(report.errors), 'error')}, {_count(len(report.warnings), 'warning')}"
    yield f"{report.model} for {report.target} ({report.toolchain}): {counts}"
    for findings in _alike(report.findings):
        one = findings[0]
        yield f"  {one.severity} [{one.rule}] {_nodes(findings)}{one.said}."
        yield f"    do: {one.remedy}"
        yield f"    source: {one.source}"
    yield f"  {_parser(report)}"


def sentences(findings: Sequence[Finding]) -> tuple[str, ...]:
    """Each warning as one sentence for a report, with the nodes that have it."""
    warnings = [one for one in findings if one.severity == "warning"]
    return tuple(f"{_nodes(alike)}{alike[0].said}." for alike in _alike(warnings))


def report_data(report: LintReport) -> dict[str, Any]:
    """What a program reads: every finding apart."""
    from pydantic_core import to_jsonable_python

    counts = {"errors": len(report.errors), "warnings": len(report.warnings)}
    data: dict[str, Any] = to_jsonable_python(report)
    return {"model": data.pop("model"), "target": data.pop("target"), **counts, **data}


def failed(reports: Sequence[LintReport]) -> str:
    """Which targets a graph will fail on or be wrong on, one sentence; empty where on none."""
    wrong = [f"{report.target} ({_count(len(report.errors), 'error')})" for report in reports if report.errors]
    return f"{reports[0].model} will fail or be wrong on {', '.join(wrong)}." if wrong else ""


def _alike(findings: Sequence[Finding]) -> list[list[Finding]]:
    groups: dict[tuple[str, ...], list[Finding]] = {}
    for one in findings:
        groups.setdefault((one.rule, one.severity, one.said, one.remedy), []).append(one)
    return list(groups.values())


def _nodes(findings: list[Finding]) -> str:
    named = [f"{one.node} ({one.operator})" if one.operator else one.node for one in findings if one.node]
    more = f" and {len(named) - NAMED} more" if len(named) > NAMED else ""
    return f"{', '.join(named[:NAMED])}{more}: " if named else ""


def _parser(report: LintReport) -> str:
    asked = f"Asked as well: the parser of {report.parser}." if report.parser else ""
    return " ".join(part for part in (asked, report.unparsed) if part)


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"
