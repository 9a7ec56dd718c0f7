"""What training a compressed model found."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, slots=True, kw_only=True)
class Epoch:
    """One pass over the data: mean loss of its steps, the user's metric after it, wall time."""

    loss: float
    metric: float | None
    seconds: float


def need_consistent(history: Sequence[Epoch], before: float | None, best: int) -> None:
    """Refuse what no training leaves, as a damaged file of one may say.

    Args:
        before, best: as of a `TrainingRun`.

    Raises:
        ValueError: an epoch that was not is the best, or only some metrics are known.
    """
    if not 0 <= best <= len(history):
        raise ValueError(f"the best is epoch {best} of {len(history)}")
    if any((epoch.metric is None) != (before is None) for epoch in history):
        raise ValueError("the metric is known of some epochs, and not of all and before them")


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingRun:
    """How a model was trained, and what came of it.

    Attributes:
        purpose: `recovery` of a pruned model, `distillation` into a student, or of a graph that rounds.
        data: what it was trained on, in words.
        objective: the terms of the loss, a phrase each.
        planned: epochs asked for.
        history: every epoch that was finished.
        before: the user's metric before the first step, None without `evaluate()`.
        best: the epoch whose weights were kept, from 1; 0 is the model as it came.
        stopped: why it ended, a sentence.
        broken: it ended where the loss or the weights were no longer finite.
        parameters: of the trained model.
        teacher_parameters: of the model it was trained against, None where there was none.
        processes: that shared the work.
        seconds: wall time of all of it, over every start of a run that was killed.
        starts: how often it was started; more than 1 where a killed run went on.
    """

    purpose: Literal["recovery", "distillation", "quantization-aware training"]
    data: str
    objective: tuple[str, ...]
    planned: int
    history: tuple[Epoch, ...]
    before: float | None
    best: int
    stopped: str
    broken: bool
    parameters: int
    teacher_parameters: int | None
    processes: int
    seconds: float
    starts: int

    def __post_init__(self) -> None:
        """Files of it come back here, too."""
        need_consistent(self.history, self.before, self.best)

    @property
    def after(self) -> float | None:
        """The user's metric of the weights that were kept."""
        return self.before if self.best == 0 else self.history[self.best - 1].metric

    def lines(self) -> tuple[str, ...]:
        """It in sentences, for a report."""
        losses = ", ".join(f"{epoch.loss:.4g}" for epoch in self.history)
        metrics = ", ".join(f"{epoch.metric:.4g}" for epoch in self.history if epoch.metric is not None)
        against = "" if self.teacher_parameters is None else f"; its teacher has {self.teacher_parameters:,}"
        return (
            f"{self.purpose.capitalize()} on {self.data}, {self.parameters:,} parameters{against}.",
            f"Loss: {'; '.join(self.objective)}.",
            f"{len(self.history)} of {self.planned} epochs in {self.seconds:.0f} s on {_processes(self.processes)}"
            f"{f', in {self.starts} starts' if self.starts > 1 else ''}. {self.stopped}",
            f"The weights of {f'epoch {self.best}' if self.best else 'before the first epoch'} were kept.",
            *([f"Mean loss by epoch: {losses}."] if losses else []),
            *([f"Metric before: {self.before:.4g}; by epoch: {metrics}."] if self.before is not None else []),
        )


def _processes(count: int) -> str:
    return "1 process" if count == 1 else f"{count} processes"
