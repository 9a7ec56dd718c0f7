"""A candidate held against what it must compute: golden inputs, real samples, and its engine against its own graph."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from ...backends.base import Feed, Graph, Session
from ...backends.places import Place, Reference
from ...errors import InputError
from ...profiles.device.precision import load_precision
from ...profiles.device.target import Target
from ...profiles.findings.parity import Parity, parity, worst
from ..capture.amounts import with_amounts
from ..capture.captured import Captured
from ..capture.golden import Answers
from ..graphs.not_finite import told_where
from ..graphs.selection import selected_rows
from ..progress import Advance
from ..quantization.judging import JudgingSamples
from ..recipe import Recipe
from ..sources import Source
from ..workshop import Workshop
from .candidate import Candidate, OwnGolden
from .doubts.in_turns import TURNS, DataInTurns
from .judge import check_golden, judged, looked_into, unknown
from .made_up import unless_made_up
from .samples import judging_samples
from .third_link.at_new_sizes import held_at_new_sizes
from .third_link.falling_short import falling_short
from .third_link.link import graph_held, linked, with_more
from .third_link.new_sizes import new_sizes
from .third_link.unsigned import UNSIGNED, unsigned_twin
from .where import graph_run, judging_place

_ROUNDED = (
    "float16 was judged by onnxruntime in float32, with the result of every operator rounded to float16: a device that "
    "keeps more digits inside of fused operators is closer to FP32."
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Prover:
    """Proves candidates of a captured model for a target."""

    source: Source
    target: Target
    recipe: Recipe
    captured: Captured
    workshop: Workshop
    advance: Advance

    def samples(self) -> JudgingSamples:
        """The first calibration data."""
        return judging_samples(self.source, self.target, self.recipe, self.captured, self.workshop)

    def held(self, candidate: Candidate) -> Candidate:
        """The candidate with its parity on the golden inputs, and its engine held against its own graph.

        Raises:
            VerificationError: it does not agree with FP32, or the engine not with its graph.
        """
        if candidate.parity:
            return candidate
        place = judging_place(candidate, self.workshop.place, self.target)
        self.advance(None, f"{candidate.precision}, golden inputs")
        graph, golden = graph_run(candidate, place), self.captured.golden
        runs = place.runs(graph, self.target, candidate.precision, candidate.engine)
        assert runs is not None
        session = self.workshop.open(runs, place)
        notes = candidate.notes if graph is candidate.graph else (*candidate.notes, _ROUNDED)
        candidate = replace(candidate, runs=runs, notes=notes)
        answers = golden.answers(session)
        # First against its own graph: an engine that strays misses the golden outputs too, and those do not say why.
        if place.itself:
            session, how = self._quickest(candidate, session, place, answers)
            candidate = self._linked(candidate, session, place, how)
        elif not candidate.on_samples and not load_precision(candidate.precision).exact:
            candidate = self._graph_held(self._opened(candidate), session, graph)
        if place.itself and load_precision(candidate.precision).integer:
            candidate = self._with_own_golden(candidate, answers)
        asked_db = self.recipe.least_sqnr_db(candidate.precision)
        with told_where(graph.path, golden.feeds):
            candidate = unless_made_up(candidate, golden, answers, self.samples, asked_db)
            return judged(candidate, golden, answers, place, self.target, partial(self._on_example, session))

    def looked_into(self, candidate: Candidate) -> Candidate:
        """A candidate that was held, with its layers and its int8 coverage."""
        place = judging_place(candidate, self.workshop.place, self.target)
        return looked_into(candidate, self.captured.golden, place, self.target)

    def _linked(self, candidate: Candidate, session: Session, place: Place, how: str) -> Candidate:
        """The candidate, whose engine was held against its own graph on real samples.

        Args:
            how: in what form the engine answers, as `linked` has it.
        """
        self.advance(None, f"{candidate.precision}, engine against graph")
        samples = self.samples()
        if not candidate.on_samples:
            candidate = replace(candidate, on_samples=self._on_samples(candidate.graph, samples))
        asked = self.recipe.least_sqnr_db(candidate.precision)
        candidate = linked(candidate, session, samples, place, self.target, asked, how)
        turns: DataInTurns | None = self.workshop.memo.found(TURNS, candidate.graph.path)
        if turns is not None and turns.more.count > samples.count:
            candidate = with_more(candidate, session, turns.more, place, self.target, asked)
        return self._at_new_sizes(candidate, session, samples.feeds, place)

    def _at_new_sizes(self, candidate: Candidate, session: Session, samples: Sequence[Feed], place: Place) -> Candidate:
        """The candidate, whose engine was held against its own graph at sizes that were not run yet."""
        captured, graph = self.captured.graph, candidate.graph
        known = *self.captured.golden.feeds, *samples
        sizes = new_sizes(self.source, captured, graph, samples, known, self.recipe.seed, self.recipe.axes)
        reference, own = self._on_reference(captured), self._on_reference(graph)
        # Samples that are there twice have the same scores: which of their rows stands first is anybody's choice.
        selected = [name for rows in selected_rows(captured) for name in rows.outputs]
        return held_at_new_sizes(candidate, sizes, session, own, reference, place, self.target, selected)

    def _on_reference(self, graph: Graph) -> Session:
        place = Reference()
        return self.workshop.open(place.runs(graph, self.target, "fp32", None), place)

    def _on_example(self, session: Session) -> Mapping[str, Parity]:
        """Parity of what answers for a candidate on the user's example; nothing of one that is made up, or not taken.

        Args:
            session: what answers, open.
        """
        if self.source.onnx is not None:
            return unknown()
        feed = self.source.inputs
        try:
            answer, right = session(feed), self._on_reference(self.captured.graph)(feed)
        except InputError:  # the target's batch is another
            return unknown()
        return parity([with_amounts(right, self.captured.amounts)], [answer])

    def _opened(self, candidate: Candidate) -> Candidate:
        """The candidate, whose engine was held against its graph where it opens here too, but not as on the device."""
        place = self.workshop.place
        if candidate.engine is None or not place.itself or place.why_not(self.target):
            return candidate
        session = self.workshop.open(candidate.engine, place)
        return replace(self._linked(candidate, session, place, ""), on_samples={})

    def _quickest(self, candidate: Candidate, session: Session, place: Place, answers: Answers) -> tuple[Session, str]:
        """What answers as the engine does to the bit and takes the least time, for all that is still asked of it.

        Args:
            answers: the engine's to the golden inputs.

        Returns:
            The session, and how it answers, as `linked` has it.
        """
        if candidate.runs is None or not load_precision(candidate.precision).integer:
            return session, ""
        scratch, threads = Path(tempfile.mkdtemp(dir=self.workshop.scratch)), self.workshop.threads
        found = unsigned_twin(candidate.runs, place, self.captured.golden.feeds, answers, scratch, threads)
        if found is None:
            return session, ""
        self.workshop.sessions.exchange(place, candidate.runs, found)
        return found, UNSIGNED

    def _graph_held(self, candidate: Candidate, session: Session, graph: Graph) -> Candidate:
        """The candidate, whose graph was held against FP32 on real samples, in the form that is open."""
        asked, samples = self.recipe.least_sqnr_db(candidate.precision), self.samples()
        where = partial(falling_short, graph, self.captured.graph, samples.feeds[0], asked)
        return graph_held(candidate, session, samples, asked, where)

    def _with_own_golden(self, candidate: Candidate, answers: Answers) -> Candidate:
        """What a device is held to beside FP32, from which clipping may take the graph itself far.

        Args:
            answers: the engine's to the golden inputs.
        """
        graph = self._on_reference(candidate.graph)
        outputs = tuple(with_amounts(o, self.captured.amounts) for o in self.captured.golden.answers(graph))
        engine_db = worst(parity(outputs, answers, rows=self.captured.golden.rows)).weakest_db
        return replace(candidate, own_golden=OwnGolden(outputs=outputs, engine_db=engine_db))

    def _on_samples(self, graph: Graph, samples: JudgingSamples) -> Mapping[str, Parity]:
        """Parity of a graph on the reference place; that of the captured one, which answers for FP32, is known."""
        if graph.path == self.captured.graph.path:
            return samples.compare(samples.expected, graph)
        session = self._on_reference(graph)
        return samples.compare([session(feed) for feed in samples.feeds], graph)

    def on_reference(self, candidate: Candidate) -> Candidate:
        """The candidate with the parity of its graph, on the reference place.

        Raises:
            VerificationError: it does not agree with FP32.
        """
        place, golden = Reference(), self.captured.golden
        graph = graph_run(candidate, place)
        if graph.path == self.captured.graph.path:  # whose answers the golden outputs are
            return replace(candidate, parity=check_golden(golden, golden.outputs, candidate.least_db))
        session = self.workshop.open(place.runs(graph, self.target, candidate.precision, None), place)
        return replace(candidate, parity=check_golden(golden, golden.answers(session), candidate.least_db))
