"""One run of the gate: bundles are judged, the verdicts written down, and a miss ends it with code 3."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Literal

from ...errors import BudgetError, EdgepressError, TargetsError
from ...profiles.budget.budget import REGRESSION
from ...profiles.budget.limits import Allowance, Limit
from ...profiles.budget.verdict import Verdict, verdict
from ...profiles.machine.given import as_typed
from ..bundle.manifest import Bundle
from .against import ALLOWANCES, SECONDS, Against
from .baseline import Baselines
from .outcome import Outcome, of_bundle
from .outlets import Outlets

OnUnstable = Literal["pass", "fail"]


@dataclass(slots=True, kw_only=True)
class Gate:
    """What a run is judged by, and what became of each target.

    Attributes:
        targets: target by the name of its outcome, in order; those of `made` and `outcomes` are among them.
        limits: of `--budget`, those against a baseline among them; the others are in the bundles' recipes as well.
        on_unstable: whether a figure of a busy machine that may be too high fails the run.
        measure: engines may be run to compare latencies.
        seconds: for each comparison of latencies.
        warn: told what a person should know of a run that passes.
        failed: what is said first of one that does not.
    """

    targets: Mapping[str, str]
    limits: Mapping[str, Limit] = field(default_factory=dict)
    baselines: Baselines | None = None
    on_unstable: OnUnstable = "pass"
    measure: bool = True
    seconds: float = SECONDS
    outlets: Outlets = field(default_factory=Outlets)
    warn: Callable[[str], None] = lambda text: None
    failed: str = "The budget was missed."
    made: dict[str, Bundle] = field(default_factory=dict)
    outcomes: list[Outcome] = field(default_factory=list)

    @contextmanager
    def watched(self) -> Iterator[Gate]:
        """Judge what was `made` when the block ends, well or with an error of ours, and write it down.

        Raises:
            BudgetError: a limit was missed. An error of the block comes before it.
        """
        self.outlets.check()
        try:
            if self.baselines is not None:
                for target in self.targets.values():
                    self.baselines.find(target)
            yield self
        except EdgepressError as error:
            self._conclude(error)
            for outcome, one in self._failures():
                self.warn(f"{outcome.told}: {one.what}: {one.said}.")
            raise
        trouble = self._conclude(None)
        self._require()
        if trouble is not None:
            raise trouble

    @property
    def failing(self) -> frozenset[str]:
        """The statuses that fail a run."""
        return frozenset({"missed", "unstable"} if self.on_unstable == "fail" else {"missed"})

    def _conclude(self, error: EdgepressError | None) -> EdgepressError | None:
        """Judge and write; what a tracking server did not take comes after a budget that was missed."""
        left = [name for name in self.targets if name not in self.made]
        errors = _by_target(error, left)
        failed = next(iter(errors), None)
        # A file that was checked has its outcome already.
        judged = {outcome.name for outcome in self.outcomes}
        for name in self.targets:
            if name in judged:
                continue
            if name in self.made:
                self.judge(name, self.limits)
            elif name in errors:
                self.outcomes.append(Outcome(name=name, failure=errors[name]))
            else:
                self.outcomes.append(Outcome(name=name, skipped=f"the run ended at {failed}"))
        self.outlets.write(self.outcomes, self._problem(error), self.failing)
        try:
            self.outlets.track(self.outcomes)
        except EdgepressError as trouble:
            self.warn(trouble.message)
            return trouble
        return None

    def judge(self, name: str, limits: Mapping[str, Limit]) -> None:
        """Judge what was made under that name."""
        own = {what: one for what, one in limits.items() if not what.endswith(REGRESSION)}
        self.outcomes.append(self._against(of_bundle(name, self.made[name], own)))

    def _against(self, outcome: Outcome) -> Outcome:
        """The outcome with the verdicts against a baseline."""
        if self.baselines is None:
            return outcome
        allowed = {name: one for name, one in self.limits.items() if isinstance(one, Allowance)}
        old = self.baselines.find(self.targets[outcome.name])
        if old is None:
            why = f"there is no baseline in {as_typed(self.baselines.path)} yet"
            missing = tuple(verdict(name, allowed.get(name, usual), why) for name, usual in ALLOWANCES.items())
            return replace(outcome, verdicts=(*outcome.verdicts, *missing))
        both = Against.of(old, self.made[outcome.name], measure=self.measure, seconds=self.seconds)
        found = list(both.verdicts(allowed))
        seconds = {**outcome.seconds, **{one.what: taken for one, taken in found}}
        return replace(outcome, verdicts=(*outcome.verdicts, *(one for one, _ in found)), seconds=seconds)

    def _failures(self) -> Iterator[tuple[Outcome, Verdict]]:
        for outcome in self.outcomes:
            for one in outcome.verdicts:
                if one.status in self.failing:
                    yield outcome, one

    def _problem(self, error: EdgepressError | None) -> str:
        """Why the run fails, one line; empty where it does not."""
        if error is not None:
            return error.message.splitlines()[0]
        return "; ".join(f"{one.what} of {outcome.name} {one.status}" for outcome, one in self._failures())

    def _require(self) -> None:
        for outcome in self.outcomes:
            for one in outcome.verdicts:
                if one.status in ("unstable", "undecided") and one.status not in self.failing:
                    self.warn(f"{outcome.name}: {one.what}: {one.said}. It is not failed for that.")
        if failed := [f"{outcome.told}: {one.what}: {one.said}." for outcome, one in self._failures()]:
            raise BudgetError(
                "\n".join([self.failed, *failed]),
                hint="`edgepress tune` with the same budget searches for a recipe that meets it.",
            )


def _by_target(error: EdgepressError | None, left: Sequence[str]) -> Mapping[str, EdgepressError]:
    """What ended which export; an error that is of no target in particular is told of the first."""
    if error is None or not left:
        return {}
    if isinstance(error, TargetsError):
        return {name: one for name, one in error.errors.items() if name in left}
    return {error.target if error.target is not None and error.target in left else left[0]: error}
