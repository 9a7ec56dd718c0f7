"""The verdict: ship the fastest precision that keeps the accuracy, and say on what grounds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from ...errors import VerificationError
from ...profiles.device.precision import PrecisionName, load_precision
from ...profiles.device.target import Target
from ...profiles.findings.choice import Choice, said
from ...profiles.findings.gap import Gap
from ...profiles.findings.report import TaskMetric
from ...profiles.timing.in_turn import Timed
from ...profiles.timing.measurement import Measurement
from ...profiles.timing.significance import claimed
from ..capture.captured import Captured
from ..progress import Advance
from ..recipe import Recipe
from ..sources import Source
from ..workshop import Workshop
from .candidate import Candidate, Refused
from .contest import Contest, Standing
from .make import Maker
from .stages import Entries, why_unmeasured


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """What is shipped.

    Attributes:
        winner: proven and scored.
        fallback: the float candidate that goes along where the device is to repeat the choice.
    """

    contest: Contest
    choice: Choice
    winner: Candidate
    fallback: Candidate | None = None

    @property
    def told(self) -> Choice | None:
        """The choice, for the report; None where there was nothing to choose from."""
        return self.choice if len(self.choice.contenders) > 1 or _integers(self.contest) else None


def choose(
    *,
    source: Source,
    original: Source | None,
    target: Target,
    recipe: Recipe,
    captured: Captured,
    candidates: Entries,
    timed: Timed | None,
    workshop: Workshop,
    advance: Advance,
) -> dict[str, Any]:
    """Choose, and finish what was chosen.

    Returns:
        `decision` and `missing`.

    Raises:
        VerificationError: what is left to choose from does not agree with the model.
    """
    maker = Maker(
        source=source,
        original=original,
        target=target,
        recipe=recipe,
        captured=captured,
        workshop=workshop,
        advance=advance,
    )
    return _Choosing(maker=maker, candidates=candidates, timed=timed).outcome()


@dataclass(frozen=True, slots=True, kw_only=True)
class _Choosing:
    """One decision, with what it takes."""

    maker: Maker
    candidates: Entries
    timed: Timed | None

    @property
    def leading(self) -> Candidate:
        """What was asked for, or the first that did."""
        return next(entry for entry in self.candidates if isinstance(entry, Candidate))

    @property
    def forced(self) -> bool:
        """Whether the user asked for one precision."""
        return self.maker.recipe.precision != "auto"

    def outcome(self) -> dict[str, Any]:
        """As `choose` returns it."""
        entries = [self._glanced(entry) for entry in self.candidates]
        contest = Contest.between(self._standings(entries), self._measured())
        shipped = self.leading.precision if self.forced else contest.best or self._by_data(contest)
        choice = Choice(
            shipped=shipped,
            forced=self.forced,
            measured=len(contest.measured) > 1,
            because=self._because(contest, shipped),
            contenders=contest.contenders(),
        )
        winner = self._winner(shipped, entries)
        missing = _warnings(contest, choice)
        fallback, refusals = self._fallback(winner, choice)
        decision = Decision(contest=contest, choice=choice, winner=winner, fallback=fallback)
        return {"decision": decision, "missing": (*missing, *refusals)}

    def _measured(self) -> dict[PrecisionName, Measurement]:
        latency: Mapping[str, Measurement] = {} if self.timed is None else self.timed.latency
        made = [entry.precision for entry in self.candidates if isinstance(entry, Candidate)]
        return {precision: latency[precision] for precision in made if precision in latency}

    def _glanced(self, entry: Candidate | Refused) -> Candidate | Refused:
        """A rival with what decides whether it keeps the accuracy, where it is measured here; FP32 is the measure."""
        if isinstance(entry, Refused) or entry is self.leading or self.timed is None:
            return entry
        if load_precision(entry.precision).exact:
            return entry
        maker = self.maker
        try:
            entry = maker.prover.held(entry)
        except VerificationError as error:
            return Refused(precision=entry.precision, error=error)
        asked = maker.recipe.budget.drop is not None and maker.source.evaluate is not None
        return maker.scored(entry) if asked else entry

    def _standings(self, entries: Sequence[Candidate | Refused]) -> dict[PrecisionName, Standing]:
        """What is known of each precision's accuracy."""
        return {entry.precision: self._standing(entry) for entry in entries}

    def _standing(self, entry: Candidate | Refused) -> Standing:
        if isinstance(entry, Refused):
            size = next(
                (e.size for e in self.candidates if isinstance(e, Candidate) and e.precision == entry.precision), None
            )
            return replace(Standing.of(entry), size=size)
        standing = Standing.of(entry, "" if entry.parity else "the model's graph")
        return standing if entry.task is None else self._within(entry, entry.task, standing)

    def _within(self, candidate: Candidate, task: TaskMetric, standing: Standing) -> Standing:
        """What the metric says, and whether that is within the drop allowed."""
        drop = self.maker.recipe.budget.drop
        kept = drop is None or drop.allows(task.before, task.after)
        beyond = "" if kept else f", beyond the drop of {drop}"
        text = f"{standing.accuracy}, metric {task.before:.4f} to {task.after:.4f}{beyond}"
        return replace(standing, accuracy=text, kept=kept or load_precision(candidate.precision).exact)

    def _by_data(self, contest: Contest) -> PrecisionName:
        """The precision that the target's data call the fastest, of those that can be made and keep the accuracy."""
        target = self.maker.target
        said_first = [str(target.fastest.value)] if target.fastest is not None else []
        for precision in (*said_first, *target.precisions):
            able = precision == self.leading.precision or not load_precision(precision).integer
            if able and precision not in contest.out:
                return precision
        return "fp32"

    def _because(self, contest: Contest, shipped: PrecisionName) -> str:
        """Why this precision and none of the others, in full sentences."""
        if self.forced:
            compared = contest.compared.get(shipped)
            return f"{shipped} was asked for{f'; {said(compared, shipped)}' if compared else ''}."
        sentences = contest.excluded()
        if contest.best is None:
            sentences.append(self._by_what_data(shipped))
        sentences += contest.comparisons(shipped, "--precision {} ships it")
        return " ".join(sentences) or f"{shipped} is all there is."

    def _by_what_data(self, shipped: PrecisionName) -> str:
        maker, fastest = self.maker, self.maker.target.fastest
        why = why_unmeasured(maker.target, maker.recipe, maker.workshop) or "the engine is not built here"
        if fastest is not None and fastest.value == shipped:
            grounds = f"{fastest.mark}: {fastest.source}"
        else:
            grounds = f"the first that does of {', '.join(maker.target.precisions)}"
        return f"Not measured, because {why}: {shipped} by the data of target {maker.target.name} ({grounds})."

    def _winner(self, shipped: PrecisionName, entries: Sequence[Candidate | Refused]) -> Candidate:
        """What is shipped, with all that can be known of it."""
        if shipped == self.leading.precision:
            return self.leading
        rival = next((e for e in entries if isinstance(e, Candidate) and e.precision == shipped), None)
        maker = self.maker
        return maker.finished(rival or maker.compiled(maker.checked(maker.lowered(shipped))))

    def _fallback(self, winner: Candidate, choice: Choice) -> tuple[Candidate | None, tuple[Gap, ...]]:
        """Beside an int8 that nobody measured: the float graph, for the device to measure it against."""
        maker = self.maker
        here = not maker.workshop.place.why_unmeasured(maker.target)
        if here or choice.forced or choice.measured or not load_precision(winner.precision).integer:
            return None, ()
        refusal: tuple[Gap, ...] = ()
        for precision in dict.fromkeys((*maker.target.halves[:1], "fp32")):
            maker.advance(None, f"fallback, {precision}")
            try:
                return maker.prover.on_reference(maker.lowered(precision)), refusal
            except VerificationError as error:
                refusal = (Gap(about="fallback", why=f"No {precision} goes along: {error.message}"),)
        return None, refusal


def _integers(contest: Contest) -> list[PrecisionName]:
    return [precision for precision in contest.standings if load_precision(precision).integer]


def _warnings(contest: Contest, choice: Choice) -> tuple[Gap, ...]:
    """What a person must not miss: an int8 that was not shipped, or one that was asked for and is not faster."""
    if not choice.forced:
        lost = [] if load_precision(choice.shipped).integer else _integers(contest)
        were = "was" if len(lost) == 1 else "were"
        why = f"{' and '.join(lost)} {were} not shipped. {choice.because}"
        return (Gap(about="precision", why=why),) if lost else ()
    compared = contest.compared.get(choice.shipped)
    if compared is None or claimed(compared.ratio):
        return ()
    return (Gap(about="speed", why=f"{choice.because} On this machine nothing shows that it is faster."),)
