"""Lower the captured graph to one precision."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Hashable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from ...backends.base import Graph
from ...calibration.statistics import Statistics
from ...calibration.storage import content_digest
from ...errors import VerificationError
from ...profiles.device.precision import PrecisionName
from ...profiles.device.target import Scheme, Target
from ...profiles.findings.ladder import Ladder
from ...profiles.findings.parity import Parity, figure, is_codes, needed, worst
from ...profiles.findings.sensitivity import ParityByLayer
from ..capture.captured import Captured
from ..graphs.files import read_whole
from ..progress import Advance, counted
from ..quantization.gains import Gains, held_by, worthwhile
from ..quantization.gather import FEWEST_BEYOND, beyond, calibration_feeds, gather, with_examples
from ..quantization.judging import JudgingSamples
from ..quantization.ladder import Climb
from ..quantization.mixed_int8 import IntegerVersion, MixedPrecision, NothingToQuantizeError
from ..quantization.quantizer import Quantizer
from ..recipe import Recipe
from ..sources import Source
from ..sources.data import pictures_given
from ..workshop import Memo
from .candidate import Calibrated, Candidate
from .climbing import Climbing
from .doubts.amplifying import amplified
from .doubts.doubting import Doubting
from .doubts.in_turns import TURNS, DataInTurns, cheap_samples, first_of, in_turns
from .nothing import why_nothing

if TYPE_CHECKING:
    import onnx_ir as ir

# By how much as few samples as int8 is judged on differ by chance, in dB: 41.3 and 39.3 were seen of one distribution.
CHANCE_DB = 2.0
# So many times the samples that int8 is judged on are worth judging in turns.
_TWICE = 2
# What is sure of other samples is said to lie far below what these have.
FAR_DB = 1.0
# The user's metric of an int8 graph, compiled into the directory where that can be done.
Score = Callable[[Graph, Path], float]


_MORE = "Give more calibration data, leave layers in float with --exclude, or lower --min-sqnr."
_TRAINED = "Load trained weights where these are random, which amplify most."
_PLACES = (
    "It holds classes, places or a mask, of which 10 dB is 90 % that are the same. Give more calibration data, leave "
    "layers in float with --exclude, or return the scores that it is chosen by and choose outside of the model."
)


class UnheldError(VerificationError):
    """Integers that do not reach what is asked.

    Attributes:
        ladder: what was tried before.
    """

    ladder: Ladder | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Lowering:
    """From the captured graph to explicit Q/DQ in a target's scheme, with the lifts that pay.

    Attributes:
        precision: one of integers.
        samples: what lifts and layers in float are judged on.
        further: other samples, on which a choice of layers is judged once more; None where there are none.
        memo: what the targets of one run share; the graph is written into a directory of its own in its directory.
        threads: intra-op threads of the reference place.
        score: asks for the metric of layers in float; None where nothing asks for it.
        before: the metric of the model as given.
    """

    precision: PrecisionName
    source: Source
    target: Target
    recipe: Recipe
    captured: Captured
    samples: JudgingSamples
    further: Callable[[], JudgingSamples | None]
    memo: Memo
    threads: int
    score: Score | None
    before: Callable[[], float]
    advance: Advance

    def candidate(self) -> Candidate:
        """The int8 candidate, made once for all targets where the same decides it.

        Raises:
            NothingToQuantizeError: the model has no layer that int8 kernels exist for.
            VerificationError: int8 does not reach the least agreement on the samples.
        """
        # The user's metric may be that of an engine, which is the target's own.
        engine = None if self.score is None else self.target
        return self.memo.once("quantized", (*self._key, engine and engine.name), self._made)

    @property
    def _key(self) -> tuple[Hashable, ...]:
        """What decides lifts and layers in float, where no engine is asked."""
        return *self._given, self._scheme

    @property
    def _given(self) -> tuple[Hashable, ...]:
        """Of that what is no target's."""
        recipe = self.recipe
        data = (recipe.calibration, recipe.fit, recipe.statistics, recipe.workers, recipe.all_samples)
        more = (recipe.rungs, recipe.qat, recipe.training, recipe.sparse, recipe.seed)
        asked = (recipe.exclude, recipe.ranges, recipe.lifts, recipe.minimum_sqnr_db, *more)
        return self.source.digest, self.captured.graph.digest, self.precision, data, asked

    def _made(self) -> Candidate:
        """The int8 candidate.

        Raises:
            NothingToQuantizeError: the model has no layer that int8 kernels exist for.
            VerificationError: int8 does not reach the least agreement on the samples.
        """
        reference, recipe = self.captured.graph, self.recipe
        model = read_whole(reference.path)
        quantizer = Quantizer.of(reference, self._scheme, recipe.exclude, recipe.ranges, model=model)
        if not quantizer.placement.layers:
            raise NothingToQuantizeError(
                f"Nothing in {self.source.name!r} can be int8: {why_nothing(quantizer, self._scheme)}.",
                hint="Export with --precision fp32, or look at --exclude.",
            )
        statistics = gather(self.source, reference, quantizer, recipe, counted(self.advance), self.memo)
        self.advance(None, "lifts")
        # Lifts and ranges are judged on data that they were not fitted to, where there are enough; all of them ship.
        others = beyond(self.source, reference, quantizer, recipe, self.memo)
        if others is not None:
            statistics, others = with_examples(statistics, others, self.source, reference, recipe, self.memo)
        judged = statistics if others is None else others
        given = reference, self.target, recipe, judged, self.samples, self.memo.directory, model
        shipped = statistics if others is not None and quantizer.chooses else None
        gains = self.memo.once("gains", self._key, lambda: worthwhile(*given, shipped))
        candidate, other_db, turns = self._relaxed(model, statistics, judged, gains)
        doubting = Doubting(
            source=self.source, recipe=recipe, captured=self.captured, samples=self.samples, memo=self.memo
        )
        return doubting.doubted(candidate, model, statistics, other_db, turns)

    def _relaxed(
        self, model: ir.Model, statistics: Statistics, judged: Statistics, gains: Gains
    ) -> tuple[Candidate, float | None, Parity | None]:
        """Leave layers in float where that is needed, and write.

        Args:
            model: the captured graph, read.
            statistics: what the ranges that ship come of.
            judged: what those come of that are judged on the samples.

        Returns:
            The candidate, the SQNR in dB on the samples with ranges of others, None where there are too few or turns
            tell more, and that of data in turns, where that is cheap.

        Raises:
            VerificationError: int8 does not reach the least agreement, with either ranges.
        """
        asked_db = self.recipe.least_sqnr_db(self.precision)
        climbing = Climbing(source=self.source, memo=self.memo, advance=self.advance, given=self._given)
        first = climb = climbing.first(self._mixed(model, statistics, judged, gains), gains.assured_db)
        graph, kept, on_samples = self._written(climb)
        fitted = first.mixed.judged is statistics
        if not all(found.assures(asked_db) for found in on_samples.values()) and self._may_go_on(first, fitted):
            # It was enough with ranges of other data, and is not quite with those that ship.
            climb = climbing.again(first, statistics)
            graph, kept, on_samples = self._written(climb)
        mixed, version, by_layer = climb.mixed, climb.version, climb.mixed.by_layer(climb.version)
        turns, turned = self._in_turns(mixed, version, graph)
        other_db: float | None = self._with_others(mixed, version) if fitted and turns is None else gains.sqnr_db
        if first.found is not None and not fitted:
            other_db = first.found.sqnr_db
            if climb is not first or not climb.held:
                seen, others = first.mixed.held_out(version), f"{gains.samples} that its ranges were not fitted to"
                self._judge(seen, by_layer, others, asked_db, climb.ladder, sure=True)
                other_db = worst(seen).weakest_db
        self._judge(on_samples, by_layer, gains.samples, asked_db, climb.ladder, sure=True)
        if turned >= statistics.samples:
            other_db = None
        ranged = mixed.ranged_by(version)
        candidate = Candidate(
            precision=self.precision,
            graph=graph,
            least_db=self.recipe.least_golden_db(self.precision),
            calibrated=Calibrated(statistics=content_digest(ranged), data=ranged.data),
            on_samples=on_samples,
            left=kept,
            sensitivity=climb.sensitivity,
            ladder=climb.ladder,
            rungs=climb.rungs(Path(tempfile.mkdtemp(prefix=f"{self.precision}-rungs-", dir=self.memo.directory))),
            by_layer=by_layer,
            notes=(
                _origin(ranged, self._scheme),
                *self._pictures(),
                *gains.sentences,
                *_in_words(turns, turned, statistics),
            ),
        )
        return (self._on_others(candidate, mixed, by_layer) if version.left else candidate), other_db, turns

    def _in_turns(self, mixed: MixedPrecision, version: IntegerVersion, graph: Graph) -> tuple[Parity | None, int]:
        """The parity of data with ranges of others, part by part, and of how many samples that is.

        All where they are few, else as many as that takes little time for; then whoever holds the engine finds them.
        Weights that were fitted stay as they are: what is told is then a little more than new samples have. It decides
        nothing: ranges of fewer are poorer than those that ship.
        """
        recipe, statistics, judged = self.recipe, mixed.statistics, self.samples.count
        if recipe.statistics is not None:
            return None, 0
        most, cheap = statistics.samples, cheap_samples(statistics)
        if min(most, cheap) >= min(most, _TWICE * judged):
            key = (self.source.digest, self.captured.graph.digest, recipe.calibration, recipe.fit, most, cheap)
            turns = self.memo.once("turns of", key, lambda: self._turns(min(most, cheap), cheap))
            self.memo.once(TURNS, graph.path, lambda: turns)
        elif most - judged < FEWEST_BEYOND:
            turns = self._turns(most, most)
        else:
            return None, 0
        found = None if turns is None else in_turns(self.captured, mixed, version, turns)
        return found, 0 if turns is None or found is None else turns.samples.count

    def _turns(self, samples: int, more: int) -> DataInTurns | None:
        """So many samples of those that ranges come of in turns, and so many of the data beside."""
        feeds = calibration_feeds(self.source, self.recipe, self.captured.graph)()
        taken = first_of(feeds, self.captured.graph, more)
        return DataInTurns.of(self.captured, self.samples.kind, taken, samples)

    def _with_others(self, mixed: MixedPrecision, version: IntegerVersion) -> float | None:
        """The SQNR in dB with ranges of samples behind those judged on, where there are enough. It decides nothing."""
        if version.fitted:
            return None
        behind = beyond(self.source, self.captured.graph, mixed.quantizer(version), self.recipe, self.memo)
        return None if behind is None else worst(replace(mixed, judged=behind).held_out(version)).weakest_db

    def _may_go_on(self, climb: Climb, fitted: bool) -> bool:
        """Whether more can be done for what does not do with the ranges that ship: it was not chosen by those yet."""
        return climb.found is None or (climb.held and not fitted and not self.recipe.qat)

    def _pictures(self) -> tuple[str, ...]:
        """What was read, where the data are pictures."""
        found = pictures_given(self.recipe, self.captured.graph.inputs, self.source.inputs)
        return () if found is None else (str(found),)

    def _written(self, climb: Climb) -> tuple[Graph, Mapping[str, str], Mapping[str, Parity]]:
        """The graph that ships, why each node that is float is, and parity on the samples."""
        directory = Path(tempfile.mkdtemp(prefix=f"{self.precision}-", dir=self.memo.directory))
        graph, kept = climb.mixed.write(climb.version, directory / "model.onnx")
        return graph, kept, climb.mixed.parity(graph)

    def _mixed(self, model: ir.Model, statistics: Statistics, judged: Statistics, gains: Gains) -> MixedPrecision:
        return MixedPrecision(
            precision=self.precision,
            reference=self.captured.graph,
            model=model,
            target=self.target,
            recipe=self.recipe,
            statistics=statistics,
            judged=judged,
            feature_maps=gains.feature_maps,
            lifts=gains.lifts,
            samples=self.samples,
            scratch=self.memo.directory,
            threads=self.threads,
            score=self.score,
            before=self.before,
            advance=self.advance,
        )

    def _on_others(self, candidate: Candidate, mixed: MixedPrecision, by_layer: ParityByLayer) -> Candidate:
        """The candidate, whose layers in float were chosen by its figures on some samples, judged on others."""
        further, asked_db = self.further(), self.recipe.least_sqnr_db(self.precision)
        if further is None:
            return candidate
        found = replace(mixed, samples=further).parity(candidate.graph)
        self._judge(found, by_layer, str(further), asked_db - CHANCE_DB, candidate.ladder)
        least_db, chosen_db = worst(found).weakest_db, worst(candidate.on_samples).weakest_db
        if least_db >= asked_db:
            return candidate
        why = (
            f"Layers in float were chosen on {self.samples}: {chosen_db:.1f} dB of SQNR there, {least_db:.1f} dB on "
            f"{further}, {asked_db:g} dB asked."
        )
        return candidate.without("other", why, "layers in float")

    def _judge(
        self,
        seen: Mapping[str, Parity],
        by_layer: ParityByLayer,
        samples: str,
        asked_db: float,
        ladder: Ladder | None,
        *,
        sure: bool = False,
    ) -> None:
        """Refuse what does not reach it; `sure`: on other samples of the kind as well.

        Raises:
            UnheldError: it does not.
        """
        short = {
            name: found for name, found in seen.items() if not (found.assures if sure else found.reaches)(asked_db)
        }
        if not short:
            return
        name = min(short, key=lambda name: short[name].assured_db)
        array, found = self.samples.expected[0][name], short[name]
        first = next((layer for layer in by_layer.layers if layer.sqnr_db < asked_db), None)
        said = "" if first is None else f" The first layer below that is {first.layer!r} ({first.sqnr_db:.1f} dB)."
        others = _sure(found) if found.reaches(asked_db) else ""
        why = amplified(self.captured, self.target, self.samples, name, self.threads)
        error = UnheldError(
            f"{self.precision} collapses: output {name!r} has {figure(found.weakest_db, array)} against FP32 on "
            f"{samples}{others}, {needed(asked_db, array)} needed.{said}{why}",
            hint=_PLACES if is_codes(array) else f"{_TRAINED} {_MORE}" if why else _MORE,
        )
        error.ladder = ladder
        raise error

    @property
    def _scheme(self) -> Scheme:
        scheme = self.target.scheme
        assert scheme is not None  # choose_precision gave int8, and a target has int8 only with a scheme
        return scheme


def _sure(found: Parity) -> str:
    """What is sure of other samples, as a clause, where that is what falls short."""
    far = found.weakest_db - found.assured_db > FAR_DB
    return f", and {'samples differ so much that ' * far}of others like them only {found.assured_db:.1f} dB is sure"


def _in_words(turns: Parity | None, turned: int, statistics: Statistics) -> Iterator[str]:
    """What data have with ranges of others, for the report."""
    if turns is not None:
        of = f"On all {turned}" if turned >= statistics.samples else f"On the first {turned} of {statistics.samples}"
        spread = f"; by their spread others like them likely have {turns.assured_db:.1f} dB"
        yield (
            f"{of} samples, each quarter with ranges of the others: {turns.weakest_db:.1f} dB of SQNR"
            f"{'' if turns.lower_db is None else spread}.{held_by(turns)}"
        )


def _origin(statistics: Statistics, scheme: Scheme) -> str:
    enough = ", which were enough: the ranges had settled" if statistics.converged else ""
    calibrated = f"Calibrated on {statistics.samples} samples{enough}. Scheme {scheme.name}."
    grid = scheme.weight
    if grid.used is None:
        return calibrated
    why = f": without {' or '.join(scheme.exact_with)} the sums of more overflow" if scheme.exact_with else ""
    return f"{calibrated} Weights use {grid.used} of {grid.bits} bits{why}."
