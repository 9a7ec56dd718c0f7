"""What was tried where int8 missed what is asked: the rungs of the ladder, and what each of them gave."""

from __future__ import annotations

from dataclasses import dataclass

from .training import TrainingRun

GROUND = "lifts"


@dataclass(frozen=True, slots=True, kw_only=True)
class LadderStep:
    """One rung.

    Attributes:
        name: of the rung; `lifts` is int8 as calibration and lifts make it.
        title: it in words.
        arm: its latency's name in the report; empty where it made nothing.
        holds: it keeps what is asked.
        shipped: the int8 that came of it goes on to be compared with the floats.
        sqnr_db: of the worst output on calibration samples, with ranges of others where there are enough; None where
            nothing was made.
        assured_db: what that is on other samples of the kind as well, with 95 % confidence.
        metric: the user's, on the engine where it runs; None where it was not asked for.
        left: how many layers are in float.
        seconds: wall time of making and judging it.
        said: what was done, or why nothing was, one clause.
    """

    name: str
    title: str
    arm: str = ""
    holds: bool = False
    shipped: bool = False
    sqnr_db: float | None = None
    assured_db: float | None = None
    metric: float | None = None
    left: int = 0
    seconds: float = 0.0
    said: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ladder:
    """The rungs in the order in which they were tried.

    Attributes:
        required: what was asked for, in words.
        before: the user's metric of the model as given, None where it was not asked for.
        training: how weights were trained, where a rung did that.
        trained_db: how near the graph of integers is to the graph that was trained, in dB of SQNR.
    """

    required: str
    steps: tuple[LadderStep, ...]
    before: float | None = None
    training: TrainingRun | None = None
    trained_db: float | None = None

    @property
    def shipped(self) -> LadderStep:
        """What goes on."""
        return next(step for step in self.steps if step.shipped)

    @property
    def summary(self) -> str:
        """What was tried, and what held, one clause."""
        tried, taken = [step.name for step in self.steps if step.arm], self.shipped
        said = f"{taken.name} holds" if taken.holds else f"none holds, {taken.name} is the best"
        return f"{', '.join(tried)}: {said}"
