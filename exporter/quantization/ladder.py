"""The ladder: where int8 misses what is asked, more is done for it, the least costly first, until it holds."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from ...backends.base import Graph
from ...errors import InputError, VerificationError
from ...profiles.budget.limits import Drop
from ...profiles.findings.ladder import GROUND, Ladder, LadderStep
from ...profiles.findings.parity import worst
from ...profiles.findings.sensitivity import Sensitivity
from ..progress import Advance
from ..sources import Source
from ..workshop import Memo
from .mixed_int8 import IntegerVersion, MixedPrecision
from .relax import Evaluation, Requirement, relax
from .rungs import TRAINED, load_rungs
from .rungs.rung import Attempt, Climbed, Rung


@dataclass(frozen=True, slots=True, kw_only=True)
class Climb:
    """How far it went.

    Attributes:
        mixed: what the versions are of.
        version: what ships.
        found: what was seen of it; None where nothing was asked.
        sensitivity: which layers hurt, where something was asked.
        ladder: what was tried, None where int8 as it was is enough.
        others: versions of the rungs that do not ship, by the names of their latencies.
    """

    mixed: MixedPrecision
    version: IntegerVersion = field(default_factory=IntegerVersion)
    found: Evaluation | None = None
    held: bool = True
    sensitivity: Sensitivity | None = None
    ladder: Ladder | None = None
    others: Mapping[str, IntegerVersion] = field(default_factory=dict)

    def rungs(self, directory: Path) -> dict[str, Graph]:
        """Graphs of the others, for their latencies, each written into a directory of its own in this one."""
        graphs: dict[str, Graph] = {}
        for number, (arm, version) in enumerate(self.others.items()):
            path = directory / str(number) / "model.onnx"
            path.parent.mkdir(parents=True)
            graphs[arm], _ = self.mixed.write(version, path)
        return graphs

    @property
    def short(self) -> dict[str, str]:
        """Rungs that did not hold, and what is to be said of each where the ranges are others."""
        steps = () if self.ladder is None else self.ladder.steps
        return {step.name: _said_short(step) for step in steps if step.name != GROUND and not step.holds}


@dataclass(slots=True, kw_only=True)
class Climber:
    """Goes up.

    Attributes:
        short: as of `Climb`, of a climb whose ranges were not fitted to the samples: the rungs that it found short are
            passed over, since ranges that were prove nothing more.
    """

    mixed: MixedPrecision
    source: Source
    memo: Memo
    advance: Advance
    short: Mapping[str, str] = field(default_factory=dict)
    _steps: list[LadderStep] = field(default_factory=list)
    _made: dict[str, tuple[IntegerVersion, Evaluation]] = field(default_factory=dict)
    _climbed: dict[str, Climbed] = field(default_factory=dict)

    def is_asked(self, assured_db: float) -> bool:
        """Whether more is asked of int8 than is known of it as it is.

        Args:
            assured_db: what it has on other samples of the kind as well.
        """
        recipe = self.mixed.recipe
        named = self._drop is not None or recipe.minimum_sqnr_db is not None or recipe.qat
        return named or assured_db < recipe.least_sqnr_db(self.mixed.precision)

    def climb(self, assured_db: float) -> Climb:
        """Try rungs until one holds.

        Args:
            assured_db: as `is_asked` has it.
        """
        if not self.is_asked(assured_db):
            return Climb(mixed=self.mixed)
        recipe, mixed, drop = self.mixed.recipe, self.mixed, self._drop
        least = recipe.least_sqnr_db(mixed.precision)
        before = {} if drop is None else {"before": mixed.before()}
        required = Requirement(least_db=least, drop=drop, **before)
        started = time.perf_counter()
        ground = IntegerVersion()
        found = mixed.evaluate(ground)
        self._note(GROUND, _ground_of(mixed), ground, found, required, started)
        if not required.holds(found) or recipe.qat:
            self._go_up(required)
        return self._result(required)

    @property
    def _drop(self) -> Drop | None:
        """What the metric may lose, where there is one."""
        return self.mixed.recipe.budget.drop if self.mixed.score is not None else None

    def _go_up(self, required: Requirement) -> None:
        for name, rung in self._rungs():
            started = time.perf_counter()
            climbed, said = self._tried(name, rung, required)
            if climbed is not None:
                self._climbed[name] = climbed
            if climbed is None or climbed.version is None:
                spent = time.perf_counter() - started
                self._steps.append(LadderStep(name=name, title=rung.title, said=said, seconds=spent))
                continue
            evaluation = climbed.found or self.mixed.evaluate(climbed.version)
            self._note(name, rung.title, climbed.version, evaluation, required, started, said)
            if required.holds(evaluation):
                return

    def _tried(self, name: str, rung: Rung, required: Requirement) -> tuple[Climbed | None, str]:
        """What the rung made, and what is to be said of it.

        Raises:
            InputError, VerificationError: it was asked for by itself, and cannot be.
        """
        if (known := self.short.get(name)) is not None:
            return None, known
        base, found = self._best()
        attempt = Attempt(
            mixed=self.mixed,
            base=base,
            found=found,
            required=required,
            source=self.source,
            memo=self.memo,
            checkpoint=self.memo.checkpoint,
            advance=self.advance,
        )
        asked = self.mixed.recipe.qat
        if why := rung.why_not(attempt):
            if asked:
                raise InputError(f"int8 cannot be trained (--qat): {why}.", hint="Leave out --qat, or mend that.")
            return None, why
        try:
            climbed = rung.climb(attempt)
        except (InputError, VerificationError) as error:
            if asked:
                raise
            return None, error.message.rstrip(".")
        return climbed, climbed.said

    def _rungs(self) -> Iterator[tuple[str, Rung]]:
        recipe = self.mixed.recipe
        names = (TRAINED,) if recipe.qat else recipe.rungs
        yield from load_rungs(names).items()

    def _best(self) -> tuple[IntegerVersion, Evaluation]:
        """The most accurate of those whose layers are all in integers."""
        whole = [made for made in self._made.values() if not made[0].left]
        return max(whole, key=lambda made: _order(made[1]))

    def _note(
        self,
        name: str,
        title: str,
        version: IntegerVersion,
        found: Evaluation,
        required: Requirement,
        started: float,
        said: str = "",
    ) -> None:
        self._made[name] = version, found
        step = LadderStep(
            name=name,
            title=title,
            arm=f"{self.mixed.precision} {name}",
            holds=required.holds(found),
            sqnr_db=found.sqnr_db,
            assured_db=found.assured_db,
            metric=found.metric,
            left=len(version.left),
            seconds=time.perf_counter() - started,
            said=said,
        )
        self._steps.append(step)

    def _result(self, required: Requirement) -> Climb:
        shipped = self._shipped()
        version, found = self._made[shipped]
        tried = len(self._made) > 1 or len(self._steps) > 1
        steps = tuple(replace(step, shipped=step.name == shipped) for step in self._steps)
        trained = next((climbed for climbed in self._climbed.values() if climbed.training is not None), None)
        ladder = Ladder(
            required=str(required),
            steps=steps,
            before=None if self.mixed.score is None else self.mixed.before(),
            training=None if trained is None else trained.training,
            trained_db=None if trained is None or trained.trained is None else worst(trained.trained).weakest_db,
        )
        return Climb(
            mixed=self.mixed,
            version=version,
            found=found,
            held=required.holds(found),
            sensitivity=self._sensitivity(required),
            ladder=ladder if tried else None,
            others={step.arm: self._made[step.name][0] for step in self._steps if step.arm and step.name != shipped},
        )

    def _shipped(self) -> str:
        """What was asked for by name, the first that holds, or else the best of those in integers as a whole."""
        if self.mixed.recipe.qat and TRAINED in self._made:
            return TRAINED
        held = next((step.name for step in self._steps if step.holds), None)
        best = self._best()
        return held or next(name for name, made in self._made.items() if made is best or made == best)

    def _sensitivity(self, required: Requirement) -> Sensitivity:
        """Of the rung that asked for it, else of int8 as it was."""
        asked = (climbed.sensitivity for climbed in self._climbed.values() if climbed.sensitivity is not None)
        if (found := next(asked, None)) is not None:
            return found
        ground = self._made[GROUND]
        return relax(self.mixed.noise(ground[0]), required, lambda left: ground[1], most=1)


def _said_short(step: LadderStep) -> str:
    if step.sqnr_db is None or step.assured_db is None:
        return step.said
    return f"with ranges of other data it had {step.sqnr_db:.1f} dB, {step.assured_db:.1f} dB sure, and was not enough"


def _order(found: Evaluation) -> tuple[float, float]:
    return (0.0 if found.metric is None else found.metric), found.assured_db


def _ground_of(mixed: MixedPrecision) -> str:
    return f"{mixed.precision} with {', '.join(mixed.lifts)}" if mixed.lifts else f"{mixed.precision} without lifts"
