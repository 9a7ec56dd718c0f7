"""What a rung of the ladder is: one way to make the graph of integers more accurate."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import IntEnum
from pathlib import Path

from ....profiles.findings.parity import Parity
from ....profiles.findings.sensitivity import Sensitivity
from ....profiles.findings.training import TrainingRun
from ...progress import Advance
from ...sources import Source
from ...workshop import Memo
from ..mixed_int8 import IntegerVersion, MixedPrecision
from ..relax import Evaluation, Requirement


class Cost(IntEnum):
    """What a rung takes, the least first."""

    CALIBRATION = 1  # some passes over the calibration data
    EVALUATIONS = 2  # some evaluations, and speed: layers become float
    TRAINING = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempt:
    """What a rung starts from.

    Attributes:
        base: the most accurate version of the rungs below whose layers are all in integers.
        found: what was seen of it.
        required: what is asked.
        checkpoint: where a training is kept, None where it is not.
    """

    mixed: MixedPrecision
    base: IntegerVersion
    found: Evaluation
    required: Requirement
    source: Source
    memo: Memo
    checkpoint: Path | None
    advance: Advance


@dataclass(frozen=True, slots=True, kw_only=True)
class Climbed:
    """What a rung made.

    Attributes:
        version: None where there is none that holds, and none to go on from.
        said: what was done, one clause.
        found: what was seen of it, where the rung has evaluated it itself.
        sensitivity: which layers hurt, where it asked.
        training: how its weights were trained.
        trained: how near the graph is to what was trained, by output.
    """

    version: IntegerVersion | None
    said: str
    found: Evaluation | None = None
    sensitivity: Sensitivity | None = None
    training: TrainingRun | None = None
    trained: dict[str, Parity] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Rung:
    """One rung.

    Attributes:
        title: it in the words of a report.
        why_not: what it needs and this export lacks, one clause; empty where it has all.
        climb: makes a version; raises what the user can mend as an InputError or VerificationError, and is passed over.
    """

    title: str
    cost: Cost
    why_not: Callable[[Attempt], str]
    climb: Callable[[Attempt], Climbed]
