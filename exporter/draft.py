"""What is known of a bundle while it is being made: the value that flows through the stages."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from ..backends.base import AxisRange
from ..profiles.device.target import Target
from ..profiles.findings.gap import Gap, joined
from ..profiles.findings.lineage import LineageStep
from ..profiles.findings.pruning import Pruning
from ..profiles.findings.training import TrainingRun
from ..profiles.machine.environment import installed
from ..profiles.timing.in_turn import Timed
from .candidates.candidate import Candidate
from .candidates.choose import Decision
from .candidates.stages import Entries
from .capture.captured import Captured
from .recipe import Recipe
from .sources import Source
from .workshop import Workshop

if TYPE_CHECKING:
    from torch import nn


def _nothing(module: nn.Module) -> None:
    """What most trainings have to put back."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Draft:
    """A bundle in the making; a stage names the fields that it needs, and those that it adds.

    Attributes:
        axes: range of every free axis.
        original: the model as given, where a stage before capture changed it; quality is judged against it.
        restore: called with the module after each step of training; puts back what a stage before it fixed.
        pruning: what was removed before capture.
        candidates: precisions, made and refused, the one that is to be shipped first.
        timed: their latencies; None where they are not measured here.
        decision: what is shipped, and why.
        lineage: how the source that was given became this one.
        missing: what was not possible, and why; stages add to it.
    """

    source: Source
    target: Target
    recipe: Recipe
    axes: Mapping[str, AxisRange]
    workshop: Workshop
    original: Source | None = None
    restore: Callable[[nn.Module], None] = _nothing
    pruning: Pruning | None = None
    training: TrainingRun | None = None
    captured: Captured | None = None
    candidates: Entries = ()
    timed: Timed | None = None
    decision: Decision | None = None
    lineage: tuple[LineageStep, ...] = ()
    missing: tuple[Gap, ...] = ()

    @property
    def leading(self) -> Candidate | None:
        """What is shipped, or would be by what is known so far."""
        if self.decision is not None:
            return self.decision.winner
        return next((entry for entry in self.candidates if isinstance(entry, Candidate)), None)

    def given(self, names: tuple[str, ...]) -> dict[str, Any]:
        """The fields that a stage needs, by name."""
        return {name: getattr(self, name) for name in names}

    def having(self, found: Mapping[str, Any]) -> Draft:
        """The draft with what a stage found; what is missing is added to what was missing before."""
        return replace(self, **{**found, "missing": joined(self.missing, found.get("missing", ()))})

    def since(self, before: Draft, what: str) -> Draft:
        """The draft with a step of its lineage, where its source is another one than before."""
        given, made = before.source.digest, self.source.digest
        step = LineageStep(what=what, before=given, after=made, by=f"torch {installed('torch')}")
        return self if given == made else replace(self, lineage=(*self.lineage, step))
