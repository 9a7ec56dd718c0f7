"""The loss of one step: a weighted sum of what the teacher, the labels and named features ask for."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ..recipe import TrainingSettings
from ..sources.torch_module import named_outputs
from .objective import Output, checked_loss, relative_error

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True, slots=True, kw_only=True)
class Forward:
    """A module's own result, and the outputs of the parts that are watched."""

    result: Any
    features: Mapping[str, Tensor]


@dataclass(frozen=True, slots=True, kw_only=True)
class Terms:
    """What is added up.

    Attributes:
        outputs: those of the teacher that are followed; empty without a teacher.
        loss: the user's, None where there are no labels.
        pairs: (student's module, teacher's module) whose outputs are matched.
    """

    settings: TrainingSettings
    outputs: tuple[Output, ...]
    loss: Callable[[Any, Any], Tensor] | None
    pairs: tuple[tuple[str, str], ...]

    def __call__(self, student: Forward, teacher: Forward | None, targets: Any) -> Tensor:
        """The weighted sum, a scalar.

        Raises:
            InputError: the user's loss raised, or gave no scalar.
        """
        import torch

        parts: list[Tensor] = []
        if self.loss is not None:
            parts.append(self._hard * checked_loss(self.loss, student.result, targets))
        if teacher is not None:
            ours, theirs = named_outputs(student.result), named_outputs(teacher.result)
            distances = [o.distance(ours[o.name], theirs[o.name], self.settings.temperature) for o in self.outputs]
            parts.append((1 - self._hard) * torch.stack(distances).mean())
            if self.pairs:
                errors = [
                    relative_error(student.features[mine].float(), teacher.features[other].float())
                    for mine, other in self.pairs
                ]
                parts.append(self.settings.feature_weight * torch.stack(errors).mean())
        return torch.stack(parts).sum()

    @property
    def _hard(self) -> float:
        """The labels' share."""
        if self.loss is None:
            return 0.0
        return round(1 - self.settings.teacher_weight, 12) if self.outputs else 1.0

    def sentences(self) -> tuple[str, ...]:
        """Each term in words."""
        soft = [output.sentence(self.settings.temperature) for output in self.outputs]
        if self.loss is not None and not soft:
            soft = ["loss()"]
        elif self.loss is not None:
            soft = [f"{1 - self._hard:g} x {sentence}" for sentence in soft] + [f"{self._hard:g} x loss()"]
        names = ", ".join(f"`{mine}`" for mine, _ in self.pairs)
        return (*soft, *([f"{self.settings.feature_weight:g} x features of {names}"] if names else []))
