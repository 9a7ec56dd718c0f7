"""Names of the precisions, for a command line that answers before anything heavy is imported."""

from __future__ import annotations

from ..registry import Registry
from .files import read, stems

PRECISIONS = Registry("edgepress.precisions", "precision")


def precision_names() -> tuple[str, ...]:
    """The built-in ones, the least exact first, then by name those that other packages register, none of them imported.

    Raises:
        InputError: two packages register different things under one name.
    """
    ranks = {name: read("precisions", name)["rank"] for name in stems("precisions")}
    added = (name for name in PRECISIONS.names() if name not in ranks)
    return (*sorted(ranks, key=lambda name: -ranks[name]), *added)
