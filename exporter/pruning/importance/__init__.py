"""What makes a unit worth keeping: one file a method. Scores rank units within a group only."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

from ....errors import InputError
from ...sources.base import Source
from ..groups import Group
from . import batchnorm, magnitude, taylor

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

Scores = Mapping[str, "npt.NDArray[np.float64]"]
Importance = Callable[[Source, Sequence[Group]], Scores]

METHODS: Mapping[str, Importance] = {
    "magnitude": magnitude.score,
    "taylor": taylor.score,
    "batchnorm": batchnorm.score,
}
AUTO = "auto"


def choose_importance(name: str, source: Source) -> str:
    """The method of that name; `auto` is Taylor where the source brings training data and a loss, else magnitude.

    Raises:
        InputError: an unknown method, or one that needs what the source does not bring.
    """
    trains = source.training is not None and source.loss is not None
    if name == AUTO:
        return "taylor" if trains else "magnitude"
    if name not in METHODS:
        raise InputError(f"Unknown importance {name!r}; expected {AUTO}, {', '.join(METHODS)}.")
    if name == "taylor" and not trains:
        raise InputError(
            f"Importance by Taylor expansion needs gradients, and {source.name} brings no training() and loss().",
            hint="Add both to the model file, or choose --importance magnitude.",
        )
    return name


def order(name: str, source: Source, groups: Sequence[Group]) -> dict[str, tuple[int, ...]]:
    """The units of each group, least important first; ties in their own order."""
    scores = METHODS[name](source, [group for group in groups if group.kind != "block"])
    ranked = {group: tuple(int(unit) for unit in found.argsort(kind="stable")) for group, found in scores.items()}
    return {**ranked, **{group.name: (0,) for group in groups if group.kind == "block"}}
