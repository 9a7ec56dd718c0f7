"""What the user's metric says: of the model as given, of a candidate, and of a graph of integers on its way."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from ...backends.base import Graph
from ...backends.places import Reference
from ...profiles.device.precision import PrecisionName
from ...profiles.device.target import Target
from ...profiles.findings.report import TaskMetric
from ..capture.captured import Captured
from ..progress import Advance
from ..sources import Predict, Source, torch_predict
from ..sources.score import counting, score
from ..workshop import Workshop
from .candidate import Candidate
from .where import judging_place


@dataclass(frozen=True, slots=True, kw_only=True)
class Scorer:
    """Asks for the metric of a model and its candidates.

    Attributes:
        original: the model as given, where a stage before capture changed it; quality is judged against it.
    """

    source: Source
    original: Source | None
    target: Target
    captured: Captured
    workshop: Workshop
    advance: Advance

    def scored(self, candidate: Candidate) -> Candidate:
        """The candidate with the user's metric.

        Raises:
            InputError: `evaluate` raised, or did not return a finite number.
        """
        evaluate = self.source.evaluate
        if candidate.task is not None:
            return candidate
        if evaluate is None:
            return candidate.without("task", "No task metric: the source has no evaluate().")
        assert candidate.runs is not None
        place = judging_place(candidate, self.workshop.place, self.target)
        session = self.workshop.open(candidate.runs, place)
        after = score(evaluate, counting(session, self.advance, candidate.precision))
        task = TaskMetric(before=self.baseline(), after=after, how=place.how(self.target))
        return replace(candidate, task=task)

    def baseline(self) -> float:
        """The metric of the model as given, asked for once in a run."""
        evaluate = self.source.evaluate
        assert evaluate is not None
        given = self.original or self.source
        key = (self.target.opset, given.digest)
        return self.workshop.memo.once(
            "metric", key, lambda: score(evaluate, counting(self._given(), self.advance, "FP32"))
        )

    def _given(self) -> Predict:
        """The module before anything changed it, else its FP32 graph, whose parity with it is proven."""
        if self.original is not None:
            return torch_predict(self.original, self.workshop.threads)
        place = Reference()
        return self.workshop.open(place.runs(self.captured.graph, self.target, "fp32", None), place)

    def of_integers(self, precision: PrecisionName, graph: Graph, directory: Path) -> float:
        """The metric of a graph of integers, of its engine where that is what the device runs."""
        evaluate, place = self.source.evaluate, self.workshop.place
        assert evaluate is not None
        engine = None
        if place.why_unmeasured(self.target):
            place = Reference()
        else:
            directory.mkdir()
            engine = place.compile(graph, self.target, directory, precision)
        runs = place.runs(graph, self.target, precision, engine)
        assert runs is not None
        with place.open(runs, self.workshop.threads) as session:
            return score(evaluate, session)
