"""The names that options offer, each list asked of the registry that has it, and not before it is needed."""

from __future__ import annotations

from .option_types import Registered


def _ranges() -> tuple[str, ...]:
    from ...calibration.ranges import METHODS

    return ("auto", *METHODS.names())


def _lifts() -> tuple[str, ...]:
    from ..quantization.lifts import LIFTS

    return LIFTS.names()


def _rungs() -> tuple[str, ...]:
    from ..quantization.rungs import RUNGS

    return RUNGS.names()


def _importances() -> tuple[str, ...]:
    from ..pruning.importance import METHODS

    return ("auto", *METHODS.names())


def _precisions() -> tuple[str, ...]:
    from ...profiles.device.precision_names import precision_names

    return ("auto", *precision_names())


RANGES, LIFTS, RUNGS = Registered(_ranges), Registered(_lifts), Registered(_rungs)
IMPORTANCES, PRECISIONS = Registered(_importances), Registered(_precisions)
