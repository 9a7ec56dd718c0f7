"""Make one precision: its graph, its engine, the proof of both, and what the user's metric says of it."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from ...backends.base import Graph, Session
from ...backends.places import Place, Reference
from ...backends.registry import load_backend
from ...profiles.device.precision import PrecisionName, load_precision
from ...profiles.device.target import Target
from ...profiles.findings.parity import Parity, parity, worst
from ...profiles.findings.report import TaskMetric
from ..capture.amounts import with_amounts
from ..capture.captured import Captured
from ..capture.golden import Answers
from ..capture.stage import refuse
from ..graphs.files import read_graph, weight_bytes
from ..graphs.not_finite import told_where
from ..graphs.sparsity import found_sparsity
from ..progress import Advance
from ..quantization.gather import known_of_first
from ..quantization.judging import JudgingSamples
from ..quantization.mixed_int8 import NothingToQuantizeError
from ..quantization.rewrites.rounded_float16 import is_widened, rounded_float16
from ..recipe import Recipe
from ..sources import Predict, Source, torch_predict
from ..sources.score import counting, score
from ..workshop import Workshop
from .candidate import Candidate, OwnGolden, Refused
from .falling_short import falling_short
from .judge import built_evidence, check_golden, directory_bytes, judged, looked_into
from .link import StrayingError, graph_held, linked
from .linted import linted
from .lower import Lowering, RealFeeds, float_graph
from .made_up import unless_made_up
from .parting import Parting, parting
from .remedies import FAILURES, IN_FLOAT32, Remedies, noted
from .samples import further_samples, judging_samples
from .selecting import with_selection
from .stand_in import left_to_the_device
from .unsigned import UNSIGNED, unsigned_twin

Watch = Callable[[Candidate], None]
_ROUNDED = (
    "float16 was judged by onnxruntime in float32, with the result of every operator rounded to float16: a device that "
    "keeps more digits inside of fused operators is closer to FP32."
)


def unwatched(candidate: Candidate) -> None:
    """What most exports do when a candidate has got further: nothing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Maker:
    """Makes candidates of a captured model for a target, each step apart, so that none is taken in vain.

    Attributes:
        original: the model as given, where a stage before capture changed it; quality is judged against it.
        watch: shown a candidate after each step; what it raises ends the export.
    """

    source: Source
    original: Source | None
    target: Target
    recipe: Recipe
    captured: Captured
    workshop: Workshop
    advance: Advance
    watch: Watch = unwatched

    def made(self, precision: PrecisionName) -> Candidate | Refused:
        """A precision with all that can be known of it; Refused where another one may still get through."""
        try:
            return self._through(precision)
        except StrayingError as error:
            if exact := self._exactly(precision):
                found = exact.made(precision)
                return noted(found, f"{IN_FLOAT32} {error.message}") if isinstance(found, Candidate) else found
            again = Remedies(recipe=self.recipe, made=partial(self._by, precision), parting=self._parting)
            return again.of(error)
        except FAILURES as error:
            return Refused(precision=precision, error=error)

    def _by(self, precision: PrecisionName, recipe: Recipe) -> Candidate:
        """The precision by another recipe."""
        return replace(self, recipe=recipe)._through(precision)

    def _exactly(self, precision: PrecisionName) -> Maker | None:
        """Makes a precision of integers beside which the runtime lowers no float; None where it does not do that."""
        exact = load_backend(self.target.backend).exactly(self.target) if load_precision(precision).integer else None
        return None if exact is None else replace(self, target=exact)

    def _parting(self, candidate: Candidate) -> Parting | None:
        """Where a straying engine parts from its graph, on the first batch of samples."""
        self.advance(None, f"{candidate.precision}, where the engine strays")
        return parting(candidate, self.workshop.place, self.target, self._samples().feeds[0], self.workshop.threads)

    def _through(self, precision: PrecisionName) -> Candidate:
        """Every step, in order."""
        candidate = self.lowered(precision)
        for step in (self.checked, self.compiled, self.finished):
            candidate = step(candidate)
        return candidate

    def finished(self, candidate: Candidate) -> Candidate:
        """A compiled candidate, proven and scored.

        Raises:
            VerificationError: it does not agree with FP32.
        """
        return self.scored(self.proven(candidate))

    def lowered(self, precision: PrecisionName) -> Candidate:
        """The graph in a precision.

        Raises:
            NothingToQuantizeError, VerificationError, RefusedError: int8 does not do; or no weights are 2:4, as asked.
        """
        self.advance(None, f"{precision} graph")
        made = self._integers if load_precision(precision).integer else self._float
        candidate = with_selection(made(precision), self.target, self.workshop.scratch)
        sparsity = found_sparsity(candidate.graph.path) if self.recipe.sparse else None
        return replace(candidate, sparsity=sparsity, weights=weight_bytes(candidate.graph.path))

    def _integers(self, precision: PrecisionName) -> Candidate:
        try:
            return self._lowering(precision).candidate()
        except NothingToQuantizeError:
            self._refuse(self.captured.graph)
            raise  # float is a way out

    def _float(self, precision: PrecisionName) -> Candidate:
        """A float precision, whose graph is made once for all targets that share the capture and its samples."""
        recipe, graph, memo = self.recipe, self.captured.graph, self.workshop.memo
        key = (precision, graph.path, recipe.calibration, recipe.fit, recipe.statistics)
        made, notes = memo.once(
            "float graph", key, lambda: float_graph(precision, graph, memo.directory, self._real_feeds)
        )
        return Candidate(precision=precision, graph=made, least_db=recipe.least_golden_db(precision), notes=notes)

    def checked(self, candidate: Candidate) -> Candidate:
        """The candidate, whose graph breaks no rule of the target and is taken by its compiler, as far as it says so.

        Raises:
            RefusedError: naming the nodes, and the rule or what the compiler says.
        """
        candidate = linted(candidate, self.target)
        self._refuse(candidate.graph)
        return candidate

    def _refuse(self, graph: Graph) -> None:
        if not self.workshop.place.why_not_built(self.target):
            refuse(self.workshop.place.check(graph, self.target), self.target.name)

    def compiled(self, candidate: Candidate) -> Candidate:
        """The candidate with its engine, or why it is not built here.

        Raises:
            RefusedError: the compiler does not take the graph.
        """
        place, target = self.workshop.place, self.target
        if why := place.why_not_built(target):
            unbuilt = left_to_the_device(candidate, target, place, self.source.name, why)
            self.watch(unbuilt)
            return unbuilt
        self.advance(None, f"{candidate.precision} engine")
        directory = Path(tempfile.mkdtemp(prefix=f"{candidate.precision}-engine-", dir=self.workshop.scratch))
        engine = place.compile(candidate.graph, target, directory, candidate.precision)
        notes = [*candidate.notes, *engine.notes]
        if not load_backend(target.backend).deterministic:
            notes.append(f"The compiler of {target.backend} is not deterministic: two builds may differ in bytes.")
        compiled = replace(
            candidate,
            engine=engine,
            runs=place.runs(self._run(candidate, place), target, candidate.precision, engine),
            size=directory_bytes(directory),
            evidence=(*candidate.evidence, built_evidence(engine, place)),
            notes=tuple(notes),
        )
        self.watch(compiled)
        return compiled

    def held(self, candidate: Candidate) -> Candidate:
        """The candidate with its parity on the golden inputs, and its engine held against its own graph.

        Raises:
            VerificationError: it does not agree with FP32, or the engine not with its graph.
        """
        if candidate.parity:
            return candidate
        place = self._place(candidate)
        self.advance(None, f"{candidate.precision}, golden inputs")
        graph, golden = self._run(candidate, place), self.captured.golden
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
            candidate = unless_made_up(candidate, golden, answers, self._samples, asked_db)
            return judged(candidate, golden, answers, place, self.target)

    def proven(self, candidate: Candidate) -> Candidate:
        """The candidate, held against what it must compute, with its layers and its int8 coverage.

        Raises:
            VerificationError: as `held`.
        """
        candidate = self.held(candidate)
        candidate = looked_into(candidate, self.captured.golden, self._place(candidate), self.target)
        self.watch(candidate)
        return candidate

    def _linked(self, candidate: Candidate, session: Session, place: Place, how: str) -> Candidate:
        """The candidate, whose engine was held against its own graph on real samples.

        Args:
            how: in what form the engine answers, as `linked` has it.
        """
        self.advance(None, f"{candidate.precision}, engine against graph")
        samples = self._samples()
        if not candidate.on_samples:
            candidate = replace(candidate, on_samples=self._on_samples(candidate.graph, samples))
        asked = self.recipe.least_sqnr_db(candidate.precision)
        return linked(candidate, session, samples, place, self.target, asked, how)

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
        asked, samples = self.recipe.least_sqnr_db(candidate.precision), self._samples()
        where = partial(falling_short, graph, self.captured.graph, samples.feeds[0], asked)
        return graph_held(candidate, session, samples, asked, where)

    def _with_own_golden(self, candidate: Candidate, answers: Answers) -> Candidate:
        """What a device is held to beside FP32, from which clipping may take the graph itself far.

        Args:
            answers: the engine's to the golden inputs.
        """
        place = Reference()
        graph = self.workshop.open(place.runs(candidate.graph, self.target, "fp32", None), place)
        outputs = tuple(with_amounts(o, self.captured.amounts) for o in self.captured.golden.answers(graph))
        engine_db = worst(parity(outputs, answers, rows=self.captured.golden.rows)).weakest_db
        return replace(candidate, own_golden=OwnGolden(outputs=outputs, engine_db=engine_db))

    def _on_samples(self, graph: Graph, samples: JudgingSamples) -> Mapping[str, Parity]:
        """Parity of a graph on the reference place; that of the captured one, which answers for FP32, is known."""
        if graph.path == self.captured.graph.path:
            return samples.compare(samples.expected, graph)
        place = Reference()
        session = self.workshop.open(place.runs(graph, self.target, "fp32", None), place)
        return samples.compare([session(feed) for feed in samples.feeds], graph)

    def _samples(self) -> JudgingSamples:
        return judging_samples(self.source, self.target, self.recipe, self.captured, self.workshop)

    def _further(self) -> JudgingSamples | None:
        return further_samples(self.source, self.target, self.recipe, self.captured, self.workshop)

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
        place = self._place(candidate)
        session = self.workshop.open(candidate.runs, place)
        after = score(evaluate, counting(session, self.advance, candidate.precision))
        task = TaskMetric(before=self.baseline(), after=after, how=place.how(self.target))
        candidate = replace(candidate, task=task)
        self.watch(candidate)
        return candidate

    def on_reference(self, candidate: Candidate) -> Candidate:
        """The candidate with the parity of its graph, on the reference place.

        Raises:
            VerificationError: it does not agree with FP32.
        """
        place, golden = Reference(), self.captured.golden
        graph = self._run(candidate, place)
        if graph.path == self.captured.graph.path:  # whose answers the golden outputs are
            return replace(candidate, parity=check_golden(golden, golden.outputs, candidate.least_db))
        session = self.workshop.open(place.runs(graph, self.target, candidate.precision, None), place)
        return replace(candidate, parity=check_golden(golden, golden.answers(session), candidate.least_db))

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

    def _place(self, candidate: Candidate) -> Place:
        """Where a candidate is judged: where its engine runs and rounds as on the device, else the reference."""
        place = self.workshop.place
        runs = candidate.engine is not None and not place.why_not(self.target)
        return place if runs and not is_widened(candidate.precision, place, self.target) else Reference()

    def _run(self, candidate: Candidate, place: Place) -> Graph:
        """What a place runs of a candidate's graph: beside the device, float16 is rounded as the graph says."""
        graph = candidate.graph
        if place.itself or load_precision(candidate.precision).storage != "float16":
            return graph
        path = graph.path.with_name("rounded.onnx")
        return read_graph(path, graph.axes) if path.exists() else rounded_float16(graph, path)

    def _real_feeds(self) -> RealFeeds:
        """Golden inputs and samples, which show the range of every value, and what another pass has shown of these."""
        known = known_of_first(self.source, self.captured.graph, self.recipe, self.workshop.memo)
        return self.captured.golden.feeds, self._samples().feeds, known

    def _lowering(self, precision: PrecisionName) -> Lowering:
        asked = (self.recipe.budget.drop is not None or self.recipe.qat) and self.source.evaluate is not None
        return Lowering(
            precision=precision,
            source=self.source,
            target=self._lowered_for(precision),
            recipe=self.recipe,
            captured=self.captured,
            samples=self._samples(),
            further=self._further,
            memo=self.workshop.memo,
            threads=self.workshop.threads,
            score=partial(self._score, precision) if asked else None,
            before=self.baseline,
            advance=self.advance,
        )

    def _lowered_for(self, precision: PrecisionName) -> Target:
        """The target, with the scheme that its kernels are exact with on the machine where its engine runs."""
        place, target = self.workshop.place, self.target.making(precision)
        return target.on(place.machine.isa) if place.evidence(target) == "measured" else target

    def _score(self, precision: PrecisionName, graph: Graph, directory: Path) -> float:
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
