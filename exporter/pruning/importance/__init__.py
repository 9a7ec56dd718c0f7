"""What makes a unit worth keeping: one file a method, found by its entry point. Scores rank units within a group only.

A method is an `Importance`; another package may add its own.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, cast

from ....errors import InputError
from ....profiles.registry import Registry

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from ...sources.base import Source
    from ..groups import Group

    Scores = Mapping[str, npt.NDArray[np.float64]]
    Importance = Callable[[Source, Sequence[Group]], Scores]

METHODS = Registry("edgepress.importances", "importance", order=("magnitude", "taylor", "batchnorm", ...))
AUTO = "auto"


def choose_importance(name: str, source: Source) -> str:
    """The method of that name; `auto` is Taylor where the source brings training data and a loss, else magnitude.

    Raises:
        InputError: an unknown method, or one that needs what the source does not bring.
    """
    trains = source.training is not None and source.loss is not None
    if name == AUTO:
        return "taylor" if trains else "magnitude"
    if name not in METHODS.names():
        raise InputError(f"Unknown importance {name!r}; expected {AUTO}, {', '.join(METHODS.names())}.")
    if name == "taylor" and not trains:
        raise InputError(
            f"Importance by Taylor expansion needs gradients, and {source.name} brings no training() and loss().",
            hint="Add both to the model file, or choose --importance magnitude.",
        )
    return name


def order(name: str, source: Source, groups: Sequence[Group]) -> dict[str, tuple[int, ...]]:
    """The units of each group, least important first; ties in their own order."""
    score = cast("Importance", METHODS.load(name))
    scores = score(source, [group for group in groups if group.kind != "block"])
    ranked = {group: tuple(int(unit) for unit in found.argsort(kind="stable")) for group, found in scores.items()}
    return {**ranked, **{group.name: (0,) for group in groups if group.kind == "block"}}
