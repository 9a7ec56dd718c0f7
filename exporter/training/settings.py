"""How a compressed model is trained; the defaults are what most users want."""

from __future__ import annotations

import math
from dataclasses import dataclass

from ...errors import InputError


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingSettings:
    """Settings of recovery and distillation.

    Attributes:
        epochs: passes over the training data at most.
        learning_rate: AdamW's highest, reached after the warm-up; a cosine takes it to 0 at the last step.
        weight_decay: AdamW's, of weights with two axes or more; biases and norms have none.
        warmup: share of all steps in which the rate rises, 0..1.
        temperature: of soft labels (Hinton et al., "Distilling the Knowledge in a Neural Network", 2015).
        teacher_weight: share of the teacher in the loss where the data have labels too, 0..1.
        features: modules whose outputs follow the teacher's: `NAME`, or `STUDENT=TEACHER` where the names differ.
        feature_weight: of all of them together, beside the loss above.
        patience: epochs without a better `evaluate()` after which training stops.

    Raises:
        InputError: a value out of its range.
    """

    epochs: int = 10
    learning_rate: float = 1e-3
    weight_decay: float = 0.01
    warmup: float = 0.1
    temperature: float = 4.0
    teacher_weight: float = 0.9
    features: tuple[str, ...] = ()
    feature_weight: float = 1.0
    patience: int = 5

    def __post_init__(self) -> None:
        """Refuse what would train nothing, or nonsense."""
        for name, low in (("epochs", 0), ("patience", 1)):
            if (value := getattr(self, name)) < low:
                raise InputError(f"{_option(name)} is {value}; expected a whole number of at least {low}.")
        for name in ("learning_rate", "temperature"):
            if not (math.isfinite(value := getattr(self, name)) and value > 0):
                raise InputError(f"{_option(name)} is {value}; expected a number above 0.")
        for name in ("warmup", "teacher_weight"):
            if not 0 <= (value := getattr(self, name)) <= 1:
                raise InputError(f"{_option(name)} is {value}; expected a share, 0 to 1.")
        for name in ("weight_decay", "feature_weight"):
            if not (math.isfinite(value := getattr(self, name)) and value >= 0):
                raise InputError(f"{_option(name)} is {value}; expected 0 or more.")


def _option(name: str) -> str:
    return f"training: {name.replace('_', '-')}"
