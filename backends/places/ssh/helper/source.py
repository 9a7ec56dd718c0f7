"""The helper as one text: the modules of this directory, for a device that has no edgepress."""

from __future__ import annotations

from functools import cache
from pathlib import Path

from ....one_file import one_file

# In the order of their imports.
MODULES = ("machine", "packages", "owned", "store", "processes", "serving")


@cache
def joined() -> str:
    """The text; its `main` is called with what the helper is told."""
    return one_file(Path(__file__).parent, MODULES)
