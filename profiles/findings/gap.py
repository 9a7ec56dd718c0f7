"""What was not possible or not done, as values that are found again by what they are about."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal, get_args

About = Literal[
    "coverage",  # int8 coverage was not read
    "disturbed",  # latencies are not the machine's own; the subject is what disturbed them
    "engine",  # it is not built here
    "fallback",  # no float graph goes along
    "latency",  # it was not measured
    "other",
    "parser",  # none judged the graph
    "precision",  # the one that was to be expected is not shipped
    "run",  # the engine was built, but not run
    "speed",  # nothing shows that what was asked for is faster
    "steady",  # latencies of the subject, an arm, reached no steady state
    "task",  # there is no metric
    "training",  # it was not trained, or not to the end
]


@dataclass(frozen=True, slots=True, kw_only=True)
class Gap:
    """One thing that is missing.

    Attributes:
        why: one sentence for people.
        subject: which one, where there can be several of the same kind.
    """

    about: About
    why: str
    subject: str = ""


def joined(*groups: Iterable[Gap]) -> tuple[Gap, ...]:
    """All of them in order; of the same thing the later one counts, at the place of the earlier."""
    return tuple({(gap.about, gap.subject): gap for group in groups for gap in group}.values())


def why_missing(gaps: Iterable[Gap], about: About, otherwise: str = "") -> str:
    """The sentence on the first gap of that kind, or what is said where there is none."""
    return next((gap.why for gap in gaps if gap.about == about), otherwise)


def of_schema_1(data: Any) -> Any:
    """As reports of schema 1 had it: sentences by `task`, `engine run`, `steady fp32`, or `disturbed` and a clause."""
    if not isinstance(data, Mapping):
        return data
    return [{**_of_key(str(key)), "why": why} for key, why in data.items()]


def _of_key(key: str) -> dict[str, str]:
    about, _, subject = key.partition(" ")
    if key == "engine run":
        return {"about": "run"}
    if about in ("disturbed", "steady") and subject:
        return {"about": about, "subject": subject}
    return {"about": key} if key in get_args(About) else {"about": "other", "subject": key}
