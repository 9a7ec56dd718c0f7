"""The verdicts as JUnit XML: a test suite for each target, a test case for each verdict.

Elements and attributes are those of the schema that Jenkins, GitLab and most others read (`junit-10.xsd`).
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from xml.etree import ElementTree

from ...errors import VerificationError
from ...profiles.budget.verdict import Verdict
from .outcome import Outcome

# XML 1.0 has no way to write these, not even escaped.
_CONTROL = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def junit(outcomes: Sequence[Outcome], date: str, failing: frozenset[str]) -> str:
    """The whole document.

    Args:
        date: ISO 8601; the schema has no place for its zone.
        failing: statuses that fail the run.
    """
    root = ElementTree.Element("testsuites", name="edgepress")
    for outcome in outcomes:
        _suite(root, outcome, date, failing)
    for what in ("tests", "failures", "errors"):
        root.set(what, str(sum(int(suite.get(what, "0")) for suite in root)))
    root.set("time", f"{sum(float(suite.get('time', '0')) for suite in root):.3f}")
    ElementTree.indent(root)
    return '<?xml version="1.0" encoding="UTF-8"?>\n' + ElementTree.tostring(root, encoding="unicode") + "\n"


def _suite(root: ElementTree.Element, outcome: Outcome, date: str, failing: frozenset[str]) -> None:
    # A host's name is nobody's business, and the schema asks for one.
    stamp = date.partition("+")[0]
    suite = ElementTree.SubElement(root, "testsuite", name=_clean(outcome.name), timestamp=stamp, hostname="localhost")
    if outcome.report is not None:
        kept = ElementTree.SubElement(suite, "properties")
        for name, value in _properties(outcome).items():
            ElementTree.SubElement(kept, "property", name=name, value=_clean(value))
    for one in outcome.verdicts:
        _verdict(_case(suite, outcome, one.what), one, failing)
    if outcome.failure is not None:
        _failure(suite, outcome)
    if outcome.skipped:
        ElementTree.SubElement(_case(suite, outcome, "export"), "skipped", message=_clean(outcome.skipped))
    for attribute, tag in (("tests", "testcase"), ("failures", "failure"), ("errors", "error"), ("skipped", "skipped")):
        suite.set(attribute, str(len(suite.findall(tag if tag == "testcase" else f"testcase/{tag}"))))
    suite.set("time", f"{sum(outcome.seconds.values()):.3f}")


def _properties(outcome: Outcome) -> dict[str, str]:
    return {name: str(getattr(outcome.report, name)) for name in ("model", "target", "precision", "machine", "command")}


def _case(suite: ElementTree.Element, outcome: Outcome, name: str) -> ElementTree.Element:
    seconds, group = f"{outcome.seconds.get(name, 0.0):.3f}", f"edgepress.{_clean(outcome.name)}"
    return ElementTree.SubElement(suite, "testcase", classname=group, name=name, time=seconds)


def _verdict(case: ElementTree.Element, one: Verdict, failing: frozenset[str]) -> None:
    if one.status in failing:
        ElementTree.SubElement(case, "failure", message=_clean(one.said), type=one.status).text = _clean(one.said)
    elif one.status in ("unmeasured", "unlimited"):
        asked = one.said if one.status == "unmeasured" else f"no limit was asked; {one.said}"
        ElementTree.SubElement(case, "skipped", message=_clean(asked))
    else:
        ElementTree.SubElement(case, "system-out").text = _clean(f"{one.status}: {one.said}")


def _failure(suite: ElementTree.Element, outcome: Outcome) -> None:
    """An engine that computes something else fails the test of that; anything else is an error of the export."""
    failure = outcome.failure
    assert failure is not None
    wrong = isinstance(failure, VerificationError)
    case = _case(suite, outcome, "correctness" if wrong else "export")
    tag = "failure" if wrong else "error"
    told = ElementTree.SubElement(case, tag, message=_clean(failure.message), type=failure.kind)
    told.text = _clean(str(failure))


def _clean(text: str) -> str:
    return _CONTROL.sub("?", text)
