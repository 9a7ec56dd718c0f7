"""What the user excludes from pruning: names and shell patterns of modules."""

from __future__ import annotations

import fnmatch
from collections.abc import Sequence
from typing import TYPE_CHECKING

from ...errors import InputError
from ...profiles.reading.near import did_you_mean
from .groups import Found, Group

if TYPE_CHECKING:
    from torch import nn


def free(found: Found, patterns: Sequence[str]) -> Found:
    """What the user's patterns leave of the groups."""
    held = {group.name: reason for group in found.groups if (reason := _held(group, patterns))}
    groups = tuple(group for group in found.groups if group.name not in held)
    return Found(groups=groups, kept={**found.kept, **held})


def matching(name: str, patterns: Sequence[str]) -> str:
    """The first pattern that is the module's name, matches it, or does so for a module around it."""
    parts = name.split(".")
    around = [".".join(parts[: i + 1]) for i in range(len(parts))]
    return next((p for p in patterns if any(fnmatch.fnmatchcase(outer, p) for outer in around)), "")


def check_patterns(module: nn.Module, patterns: Sequence[str]) -> None:
    """Refuse patterns that keep nothing.

    Raises:
        InputError: one matches no module; the near ones are named.
    """
    known = [name for name, _ in module.named_modules() if name]
    for pattern in patterns:
        if not fnmatch.filter(known, pattern):
            raise InputError(
                f"--keep {pattern} matches no module of the model.",
                hint=did_you_mean(pattern, known, otherwise=f"Its modules are {', '.join(known[:20])}."),
            )


def _held(group: Group, patterns: Sequence[str]) -> str:
    """Why the user's patterns keep the group; empty where they do not. A block goes only if all in it may go."""
    if group.kind == "block":
        inside = [pattern for pattern in patterns if pattern.startswith(f"{group.name}.")]
        found = matching(group.name, patterns) or (inside[0] if inside else "")
    else:
        found = next((p for module in group.modules if (p := matching(module, patterns))), "")
    return f"--keep {found}" if found else ""
