"""TOML: targets, schemes, toolchains and recipes."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from ...errors import UnreadableError
from .opened import opened
from .values import deeper, fault

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

# A recipe that names the channels of each of a thousand layers has 50 kB.
MOST = 1 << 20
# A recipe has tables in tables, three deep. What goes into each value calls itself for each level.
DEEPEST = 64
# Python's reader goes through all parts of a key for each of them, and through those of its table for each line below.
# A line may still be a list of four thousand numbers.
MOST_STEPS = 1 << 24


def read_toml(path: Path, *, hint: str | None = None, exact: bool = True) -> dict[str, Any]:
    """The data of a file.

    Args:
        exact: numbers are finite and fit into 64 bits; else the schema of the file bounds each of them.

    Raises:
        UnreadableError: there is no such file, it is too large, not TOML, or has another number.
    """
    with opened(path, most=MOST, what="is not TOML", hint=hint) as file:
        data = decoded(file.read())
        if deeper(data, DEEPEST):
            raise ValueError("it is nested too deeply")
    if exact and (found := fault(data)):
        raise UnreadableError.of(path, found, hint=hint)
    return data


def decoded(text: bytes) -> dict[str, Any]:
    """The data of a text that is known to be TOML.

    Raises:
        ValueError: it is not, or has keys of so many parts that reading them would take hours and gigabytes.
    """
    dots = [line.count(b".") for line in text.splitlines()]
    if max(dots, default=0) * (len(dots) + sum(dots)) > MOST_STEPS:
        raise ValueError(f"a line of it has {max(dots)} dots")
    return tomllib.loads(text.decode("utf-8-sig"))  # some editors begin a file with the mark that -sig takes away
