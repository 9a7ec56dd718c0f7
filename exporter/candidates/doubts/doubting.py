"""All that speaks against trusting the integers of a candidate, asked in one place."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from ....backends.base import Graph
from ....calibration.statistics import Statistics
from ....profiles.findings.parity import Parity, is_codes, worst
from ...capture.captured import Captured
from ...quantization.gains import doubts
from ...quantization.gather import known_of_first
from ...quantization.judging import JudgingSamples
from ...recipe import Recipe
from ...sources import Source
from ...workshop import Memo
from ..candidate import Candidate
from .alike import alike, repeated
from .deciding import DECISIONS, Decisions, deciding
from .growing import growing
from .in_turns import TURNS, DataInTurns
from .larger_samples import larger_samples
from .of_other_sizes import of_other_sizes
from .one_size import of_one_size
from .shared import rounded_inputs, shared

if TYPE_CHECKING:
    import onnx_ir as ir


@dataclass(frozen=True, slots=True, kw_only=True)
class Doubting:
    """What the doubts are asked of.

    Attributes:
        samples: what int8 was judged on.
        memo: has the data that it was judged on in turns, and keeps where it decides.
    """

    source: Source
    recipe: Recipe
    captured: Captured
    samples: JudgingSamples
    memo: Memo

    def doubted(
        self,
        candidate: Candidate,
        model: ir.Model,
        statistics: Statistics,
        other_db: float | None,
        turns: Parity | None,
    ) -> Candidate:
        """The candidate with what speaks against trusting it.

        Args:
            model: the captured graph, read.
            statistics: what its ranges come of.
            other_db, turns: as `doubts` has them.
        """
        recipe, reference, samples = self.recipe, self.captured.graph, self.samples
        answers = samples.expected[0]
        amounts = {name: seen for name, seen in candidate.on_samples.items() if not is_codes(answers[name])}
        scored = self.source.evaluate is not None
        fitted_db = worst(candidate.on_samples if turns is None else amounts).weakest_db
        whole = samples.are_whole
        found = doubts(statistics.samples, fitted_db, other_db, amounts, scored=scored, turns=turns, whole=whole)
        given = samples.feeds, samples.along
        found |= alike(samples.feeds, samples.expected, samples.along) or repeated(*given)
        found |= shared(*given, statistics.samples, rounded_inputs(model, statistics.tensors))
        found |= growing(known_of_first(self.source, reference, recipe, self.memo), samples.count, statistics)
        asked_db, seed = recipe.least_sqnr_db(candidate.precision), recipe.seed
        found |= of_one_size(self.source, reference, candidate.graph, seed, asked_db)
        found |= self._deciding(model, candidate.graph, amounts)
        judged: DataInTurns | None = self.memo.found(TURNS, candidate.graph.path)
        if judged is not None and "held out" not in found:
            found |= larger_samples(self.captured, candidate.graph, judged.samples)
        lost, note = of_other_sizes(self.source, reference, candidate.graph, seed, amounts, asked_db)
        found |= lost
        candidate = replace(candidate, notes=(*candidate.notes, *note))
        for about, why in found.items():
            candidate = candidate.without("other", why, about)
        return candidate

    def _deciding(self, model: ir.Model, graph: Graph, amounts: Mapping[str, Parity]) -> dict[str, str]:
        """What decisions by rounded values may cost; where they are is kept for whoever holds the engine."""
        given = self.captured, model, graph, self.samples, amounts, self.memo.directory
        decisions = self.memo.once(DECISIONS, graph.path, lambda: Decisions.of(*given))
        return {} if decisions is None else deciding(decisions, self.samples, amounts)
