"""A new bundle beside its baseline: whether it is worse, by how much, and how sure that is."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

from ...errors import EdgepressError
from ...profiles.budget.figure import Figure
from ...profiles.budget.limits import Allowance
from ...profiles.budget.verdict import Verdict, verdict
from ...profiles.device.precision import SHIPPED
from ...profiles.findings.circumstances import Circumstances, differences
from ...profiles.findings.report import Report
from ...profiles.timing.ratio import Ratio
from ...profiles.timing.significance import claim
from ...profiles.timing.turns import LatencyComparison
from ..bundle.manifest import Bundle, sha256
from ..bundle.seal import load_report

# By what share a figure may be worse where nothing else is asked: a latency that is shown to be higher at all is a
# regression; a file may grow by what another version of a runtime writes, a metric may move by an image or two.
ALLOWANCES: Mapping[str, Allowance] = {
    "latency_regression": Allowance(share=0.0),
    "size_regression": Allowance(share=0.01),
    "accuracy_regression": Allowance(share=0.01),
}
SECONDS = 50.0  # of a comparison


@dataclass(frozen=True, slots=True, kw_only=True)
class Against:
    """A new bundle beside its baseline.

    Attributes:
        measure: latencies may be measured.
        seconds: for a comparison of latencies.
    """

    old: Bundle
    new: Bundle
    before: Report
    after: Report
    measure: bool = True
    seconds: float = SECONDS

    @classmethod
    def of(cls, old: Bundle, new: Bundle, *, measure: bool = True, seconds: float = SECONDS) -> Against:
        """Read both reports."""
        before, after = load_report(old.path), load_report(new.path)
        return cls(old=old, new=new, before=before, after=after, measure=measure, seconds=seconds)

    def verdicts(self, allowances: Mapping[str, Allowance]) -> Iterator[tuple[Verdict, float]]:
        """One verdict a kind of regression, and the seconds it took."""
        for name, judged in (
            ("accuracy_regression", self._accuracy),
            ("size_regression", self._size),
            ("latency_regression", self._latency),
        ):
            begun = time.monotonic()
            found = judged(allowances.get(name, ALLOWANCES[name]))
            yield found, time.monotonic() - begun

    def _accuracy(self, allowed: Allowance) -> Verdict:
        if self.before.task is None or self.after.task is None:
            report = self.before if self.before.task is None else self.after
            why = report.why_no("task", "there is no task metric").rstrip(".")
            return verdict("accuracy_regression", allowed, f"{self._side(report)}: {why}")
        before, after = self.before.task.after, self.after.task.after
        found = _worse((before - after) / abs(before)) if before else "the baseline's metric is 0"
        return _told(verdict("accuracy_regression", allowed, found), f"{before:.4f} to {after:.4f}")

    def _size(self, allowed: Allowance) -> Verdict:
        before, after = self.before.sizes.engine, self.after.sizes.engine
        if before is None or after is None:
            report = self.before if before is None else self.after
            return verdict("size_regression", allowed, f"{self._side(report)}: the engine is not built here")
        return _told(verdict("size_regression", allowed, _worse(after / before - 1)), f"{before} to {after} bytes")

    def _side(self, report: Report) -> str:
        return "the baseline" if report is self.before else "the new bundle"

    def _latency(self, allowed: Allowance) -> Verdict:
        name = "latency_regression"
        if not self.measure:
            return verdict(name, allowed, "measuring is switched off (--no-measure)")
        if self._same_engine():
            return _told(verdict(name, allowed, _worse(0.0)), "the engine is the baseline's, byte for byte")
        try:
            return self._fresh(allowed)
        except EdgepressError as error:
            made, why = self._stored(allowed), error.message.rstrip(".")
        return _told(made, "; ".join(text for text in (made.reason, f"not compared anew: {why}") if text))

    def _same_engine(self) -> bool:
        """Also the runtime is the same, as it is this machine's for both."""
        old, new = self.old.engine, self.new.engine
        if old is None or new is None or (old.backend, old.precision) != (new.backend, new.precision):
            return False
        files = [sorted(p for p in one.path.parent.rglob("*") if p.is_file()) for one in (old, new)]
        return [(p.name, sha256(p)) for p in files[0]] == [(p.name, sha256(p)) for p in files[1]]

    def _fresh(self, allowed: Allowance) -> Verdict:
        """Both engines in fresh processes that take turns.

        Raises:
            EdgepressError: one of them does not run here, or the two do not compare.
        """
        from ..measuring.compare import Rules, compare
        from ..measuring.subject import open_subject, this_setup

        with open_subject(self.old.path) as old, open_subject(self.new.path) as new:
            setup = this_setup(self.after.threads or None)
            found = compare(old, new, setup, Rules(seconds=self.seconds), "", lambda share: None)
        return judged_latency(found.outcome, allowed, "; ".join(found.disturbed))

    def _stored(self, allowed: Allowance) -> Verdict:
        """Both measured before, at different times; or why not even that compares."""
        name = "latency_regression"
        if any(SHIPPED not in report.latency for report in (self.before, self.after)):
            report = self.before if SHIPPED not in self.before.latency else self.after
            why = report.why_no("latency", "latency was not measured").rstrip(".")
            return verdict(name, allowed, f"{self._side(report)}: {why}")
        if any(differences(*map(_circumstances, (self.before, self.after)))):
            return verdict(name, allowed, "the baseline was measured on another machine, with other threads or inputs")
        steady = all(report.latency[SHIPPED].stable for report in (self.before, self.after))
        unsteady = "" if steady else "one of them reached no steady state"
        return judged_latency(stored_outcome(self.before, self.after), allowed, unsteady)


def _circumstances(report: Report) -> Circumstances:
    """As a report tells them; another system or runtime is what a baseline is there to judge."""
    return Circumstances(machine=report.machine, threads=report.threads, inputs=(report.latency_shape,))


def stored_outcome(before: Report, after: Report) -> LatencyComparison:
    """The ratio of two stored medians; its interval is as wide as the two intervals allow."""
    old, new = before.latency[SHIPPED].intervals[50], after.latency[SHIPPED].intervals[50]
    ratio = Ratio(value=old.value / new.value, low=old.low / new.high, high=old.high / new.low)
    weaker = "both were measured before, at different times"
    return LatencyComparison(ratio=ratio, verdict=claim(ratio), processes=1, turns=0, weaker=weaker)


def judged_latency(found: LatencyComparison, allowed: Allowance, unsteady: str = "") -> Verdict:
    """A regression is what a comparison claims, beyond the allowance by its whole interval."""
    ratio = found.ratio
    why = found.unfinished or unsteady
    growth = Figure(value=1 / ratio.value - 1, low=1 / ratio.high - 1, high=1 / ratio.low - 1, unit="%", unsteady=why)
    made = verdict("latency_regression", allowed, growth)
    if not why and found.verdict != "slower":
        made = replace(made, status="met")
    weaker = f"weaker evidence: {found.weaker}" if found.weaker else ""
    shown = found.verdict if found.verdict == "no difference shown" else ""
    return _told(made, "; ".join(text for text in (made.reason, shown, weaker) if text))


def _worse(share: float) -> Figure:
    return Figure.exact(share, "%")


def _told(made: Verdict, reason: str) -> Verdict:
    return replace(made, reason=reason)
