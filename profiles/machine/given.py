"""Where files go that a user names: there where that led when the command began, wherever code goes meanwhile."""

from __future__ import annotations

from pathlib import Path

# What was given, by what it led to.
_given: dict[Path, Path] = {}


def steady(path: Path) -> Path:
    """The absolute path: a model file may go to another directory, and so may any function in it."""
    absolute = path.absolute()
    _given.setdefault(absolute, path)
    return absolute


def as_typed(path: Path) -> Path:
    """A path in the words of who gave it or a directory above it, for messages; else as it is."""
    for above in (path, *path.parents):
        if above in _given:
            return _given[above] / path.relative_to(above)
    return path
