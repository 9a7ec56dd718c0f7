"""Make one precision: its graph, its engine, the proof of both, and what the user's metric says of it."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from ...backends.base import Graph
from ...backends.registry import load_backend
from ...errors import UnopenedError
from ...profiles.device.precision import PrecisionName, load_precision
from ...profiles.device.target import Target
from ..capture.captured import Captured
from ..capture.stage import refuse
from ..graphs.files import weight_bytes
from ..graphs.sparsity import found_sparsity
from ..progress import Advance
from ..quantization.analysis.decided import decided_in_float
from ..quantization.gather import known_of_first
from ..quantization.mixed_int8 import NothingToQuantizeError
from ..recipe import Recipe
from ..sources import Source
from ..workshop import Workshop
from .candidate import Candidate, Refused
from .doubts.deciding import DECISIONS, Decisions
from .float_graph import RealFeeds, float_graph
from .judge import built_evidence, directory_bytes
from .linted import linted
from .lower import Lowering
from .prove import Prover
from .samples import further_samples
from .score import Scorer
from .selecting import with_selection
from .stand_in import left_to_the_device
from .third_link.deciding_otherwise import refuse_deciding_otherwise
from .third_link.link import StrayingError
from .third_link.narrowed_integers import of_narrowed
from .third_link.parting import Parting, parting
from .third_link.remedies import FAILURES, IN_FLOAT32, Remedies, noted
from .where import graph_run

# Nodes that a note names.
NAMED = 3
DECIDED = "What is float is computed in float32, though the runtime would take a shorter one here: floats decide in"
_UNSEEN = (
    "What {} has to hold was seen on made-up inputs only: data of another range may go beyond it, or be told apart by "
    "digits that it lacks. Give calibration data, which are then tried."
)
Watch = Callable[[Candidate], None]


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

    @property
    def prover(self) -> Prover:
        """Holds what is made against what it must compute."""
        return Prover(
            source=self.source,
            target=self.target,
            recipe=self.recipe,
            captured=self.captured,
            workshop=self.workshop,
            advance=self.advance,
        )

    @property
    def scorer(self) -> Scorer:
        """Asks for the user's metric of it."""
        return Scorer(
            source=self.source,
            original=self.original,
            target=self.target,
            captured=self.captured,
            workshop=self.workshop,
            advance=self.advance,
        )

    def made(self, precision: PrecisionName) -> Candidate | Refused:
        """A precision with all that can be known of it; Refused where another one may still get through."""
        exact = self._exactly(precision)
        if exact and (decided := decided_in_float(self.captured.graph.path)):
            return _noted(exact.made(precision), f"{DECIDED} {', '.join(decided[:NAMED])}.")
        try:
            return self._through(precision)
        except StrayingError as error:
            if exact:
                return _noted(exact.made(precision), f"{IN_FLOAT32} {error.message}")
            again = Remedies(recipe=self.recipe, made=partial(self._by, precision), parting=self._parting)
            return self._or_narrowed(again.of(error), error)
        except UnopenedError as error:
            # A kernel may be missing for the shorter float alone.
            return (
                _noted(exact.made(precision), f"{IN_FLOAT32} {error.message}")
                if exact
                else Refused(precision=precision, error=error)
            )
        except FAILURES as error:
            return Refused(precision=precision, error=error)

    def _by(self, precision: PrecisionName, recipe: Recipe) -> Candidate:
        """The precision by another recipe."""
        return replace(self, recipe=recipe)._through(precision)

    def _exactly(self, precision: PrecisionName) -> Maker | None:
        """Makes a precision of integers beside which the runtime lowers no float; None where it does not do that."""
        exact = load_backend(self.target.backend).exactly(self.target) if load_precision(precision).integer else None
        return None if exact is None else replace(self, target=exact)

    def _or_narrowed(self, found: Candidate | Refused, strayed: StrayingError) -> Candidate | Refused:
        """What was found; where that is nothing, refused with whole numbers that the runtime does not hold, if any."""
        if not isinstance(found, Refused):
            return found
        feeds = self.prover.samples().feeds if strayed.feed is None else (strayed.feed,)
        narrowed = of_narrowed(strayed, feeds, self.target)
        return found if narrowed is None else Refused(precision=found.precision, error=narrowed)

    def _parting(self, strayed: StrayingError) -> Parting | None:
        """Where a straying engine parts from its graph, on what showed it, else on the first batch of samples."""
        candidate, threads = strayed.candidate, self.workshop.threads
        self.advance(None, f"{candidate.precision}, where the engine strays")
        feed = self.prover.samples().feeds[0] if strayed.feed is None else strayed.feed
        return parting(candidate, self.workshop.place, self.target, feed, threads)

    def _through(self, precision: PrecisionName) -> Candidate:
        """Every step, in order."""
        candidate = self.lowered(precision)
        if self._exactly(precision) is not None:
            self._refuse_deciding_otherwise(candidate)
        for step in (self.checked, self.compiled, self.finished):
            candidate = step(candidate)
        return candidate

    def _refuse_deciding_otherwise(self, candidate: Candidate) -> None:
        """Of integers beside which the runtime shortens floats, those that the model decides by, as it was lowered."""
        decisions: Decisions | None = self.workshop.memo.found(DECISIONS, candidate.graph.path)
        floats = self.workshop.place.native_float(self.target)
        if decisions is not None and not load_precision(floats).exact:
            refuse_deciding_otherwise(candidate, decisions, self.prover.samples(), floats)

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
        candidate = Candidate(precision=precision, graph=made, least_db=recipe.least_golden_db(precision), notes=notes)
        halves = load_precision(precision).storage == "float16"
        seen = not halves or self.prover.samples().feeds is not self.captured.golden.feeds
        return candidate if seen else candidate.without("other", _UNSEEN.format(precision), "ranges")

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
            runs=place.runs(graph_run(candidate, place), target, candidate.precision, engine),
            size=directory_bytes(directory),
            evidence=(*candidate.evidence, built_evidence(engine, place)),
            notes=tuple(notes),
        )
        self.watch(compiled)
        return compiled

    def proven(self, candidate: Candidate) -> Candidate:
        """The candidate, held against what it must compute, with its layers and its int8 coverage.

        Raises:
            VerificationError: as of `Prover.held`.
        """
        prover = self.prover
        candidate = prover.looked_into(prover.held(candidate))
        self.watch(candidate)
        return candidate

    def scored(self, candidate: Candidate) -> Candidate:
        """The candidate with the user's metric.

        Raises:
            InputError: `evaluate` raised, or did not return a finite number.
        """
        scored = self.scorer.scored(candidate)
        if scored.task is not candidate.task:
            self.watch(scored)
        return scored

    def _real_feeds(self) -> RealFeeds:
        """Golden inputs and samples, which show the range of every value, and what another pass has shown of these."""
        known = known_of_first(self.source, self.captured.graph, self.recipe, self.workshop.memo)
        return self.captured.golden.feeds, self.prover.samples().feeds, known

    def _lowering(self, precision: PrecisionName) -> Lowering:
        asked = (self.recipe.budget.drop is not None or self.recipe.qat) and self.source.evaluate is not None
        return Lowering(
            precision=precision,
            source=self.source,
            target=self._lowered_for(precision),
            recipe=self.recipe,
            captured=self.captured,
            samples=self.prover.samples(),
            further=lambda: further_samples(self.source, self.target, self.recipe, self.captured, self.workshop),
            memo=self.workshop.memo,
            threads=self.workshop.threads,
            score=partial(self.scorer.of_integers, precision) if asked else None,
            before=self.scorer.baseline,
            advance=self.advance,
        )

    def _lowered_for(self, precision: PrecisionName) -> Target:
        """The target, with the scheme that its kernels are exact with on the machine where its engine runs."""
        place, target = self.workshop.place, self.target.making(precision)
        return target.on(place.machine.isa) if place.evidence(target) == "measured" else target


def _noted(found: Candidate | Refused, note: str) -> Candidate | Refused:
    return noted(found, note) if isinstance(found, Candidate) else found
