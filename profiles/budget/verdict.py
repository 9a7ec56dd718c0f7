"""The verdict on a figure: whether a limit was kept, or why that cannot be said."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Literal

from .figure import Figure, Figures
from .limits import LatencyLimit, Limit

Status = Literal["met", "missed", "undecided", "unstable", "unmeasured", "unlimited"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """Whether one limit of a budget was kept.

    Attributes:
        what: a name of LIMITS, or `correctness`.
        limit: what was asked; empty where nothing was.
        found: what was measured, with its interval; or why nothing was.
        status: `missed` only where the whole interval is beyond the limit; `undecided` where the point is and the
            interval is not; `unstable` where the machine was busy and that may be why; `unmeasured` where this machine
            cannot tell; `unlimited` where nothing was asked.
        figure: None where there is none.
        reason: why it is not decided, or what it rests on; may be empty.
    """

    what: str
    limit: str
    found: str
    status: Status
    figure: Figure | None = None
    reason: str = ""

    @property
    def said(self) -> str:
        """What was found against what was asked, one clause."""
        asked = f"{self.limit} asked"
        text = {
            "met": f"{self.found}, {asked}: met",
            "missed": f"{self.found}, {asked}: missed",
            "undecided": f"{self.found}, {asked}: the interval does not exclude it",
            "unstable": f"{self.found}, {asked}: unstable",
            "unmeasured": f"{asked}, not checked: {self.found}",
            "unlimited": self.found,
        }[self.status]
        return f"{text}, {self.reason}" if self.reason else text


def verdicts(limits: Mapping[str, Limit], figures: Figures) -> Iterator[Verdict]:
    """One verdict for each limit on the figure of its name."""
    for name, limit in limits.items():
        yield verdict(name, limit, figures[name])


def verdict(name: str, asked: Limit, found: Figure | str) -> Verdict:
    """The verdict on one figure; a text in its place says why there is none."""
    said = in_words(asked)
    if isinstance(found, str):
        return Verdict(what=name, limit=said, found=found, status="unmeasured")
    status = _status(asked, found)
    reason = found.unsteady if status == "unstable" else ""
    return Verdict(what=name, limit=said, found=str(found), status=status, figure=found, reason=reason)


def unlimited(name: str, found: Figure | str) -> Verdict:
    """What is said of a figure that nothing was asked of."""
    figure = found if isinstance(found, Figure) else None
    reason = figure.unsteady if figure is not None else ""
    return Verdict(what=name, limit="", found=str(found), status="unlimited", figure=figure, reason=reason)


def _status(asked: Limit, found: Figure) -> Status:
    """A limit from below is one from above on the negative."""
    sign, bound = (-1.0 if asked.least else 1.0), asked.bound(found.before)
    value, low, high = sign * found.value, sign * found.low, sign * found.high
    best, worst, most = min(low, high), max(low, high), sign * bound
    if found.unsteady:
        return "met" if worst <= most else "unstable"
    return "met" if value <= most else "undecided" if best <= most else "missed"


def in_words(asked: Limit) -> str:
    """A limit for people, without its name."""
    if isinstance(asked, LatencyLimit):
        return str(replace(asked, percentile=50))
    return f"at least {asked}" if asked.least else str(asked)
