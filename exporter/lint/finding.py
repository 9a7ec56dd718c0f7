"""What a rule found."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from ...backends.base import Rejection

Severity = Literal["error", "warning"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One node, or the file, and one thing that is the matter with it on a target.

    Attributes:
        severity: `error` where it will fail or be computed wrongly there, `warning` where it will be slow, fall back to
            float, or asks for a decision.
        node: its name, or what tells a nameless node apart; empty where it is the file.
        operator: of the node.
        said: what is the matter, one clause.
        remedy: what to do, one imperative sentence.
        source: who says so: a document, a measurement, a compiler.
        rule: the name it is registered under; whoever runs the rules writes it.
    """

    severity: Severity
    node: str = ""
    operator: str = ""
    said: str
    remedy: str
    source: str
    rule: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class LintReport:
    """What all rules and a parser say of one graph for one target.

    Attributes:
        toolchain: the software that was asked about.
        findings: errors first.
        parser: whose parser judged the graph as well, with its version and what it stands in for; empty where none did.
        unparsed: why none did, or not to the end, one sentence; empty where one did.
    """

    model: str
    target: str
    toolchain: str
    findings: tuple[Finding, ...]
    parser: str = ""
    unparsed: str = ""

    @property
    def errors(self) -> tuple[Finding, ...]:
        """What will fail or be wrong."""
        return tuple(one for one in self.findings if one.severity == "error")

    @property
    def warnings(self) -> tuple[Finding, ...]:
        """What will be slow, or float."""
        return tuple(one for one in self.findings if one.severity == "warning")


def as_rejections(findings: Sequence[Finding]) -> tuple[Rejection, ...]:
    """The errors among findings, in the form in which an export refuses a graph."""
    return tuple(
        Rejection(node=one.node or "the graph", reason=f"{one.said}. {one.remedy}", operator=one.operator)
        for one in findings
        if one.severity == "error"
    )
