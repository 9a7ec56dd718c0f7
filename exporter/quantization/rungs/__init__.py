"""What makes int8 more accurate where it misses what is asked: one rung of the ladder a file, found by its entry point.

A rung is a `Rung`; another package may add its own. They are tried in order of what they cost.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from ....profiles.registry import Registry

if TYPE_CHECKING:
    from .rung import Rung

RUNGS = Registry("edgepress.rungs", "rung", order=("rounding", "float", "qat", ...))
# The one that `--qat` asks for at once.
TRAINED = "qat"


def load_rungs(names: tuple[str, ...] | None) -> dict[str, Rung]:
    """The rungs of these names, of all that are registered where it is None, the least costly first."""
    found = {name: cast("Rung", RUNGS.load(name)) for name in (RUNGS.names() if names is None else names)}
    return dict(sorted(found.items(), key=lambda item: item[1].cost))
