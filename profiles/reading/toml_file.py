"""TOML: targets, schemes, toolchains and recipes."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from ...errors import UnreadableError
from .opened import in_words, read_bytes
from .values import fault

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

# A recipe that names the channels of each of a thousand layers has 50 kB.
MOST = 1 << 20


def read_toml(path: Path, *, hint: str | None = None, exact: bool = True) -> dict[str, Any]:
    """The data of a file.

    Args:
        exact: numbers are finite and fit into 64 bits; else the schema of the file bounds each of them.

    Raises:
        UnreadableError: there is no such file, it is too large, not TOML, or has another number.
    """
    text = read_bytes(path, most=MOST, hint=hint)
    try:
        data = decoded(text)
    except Exception as error:  # beside its own, tomllib raises what int() and the stack do
        raise UnreadableError(path, in_words(error), what="is not TOML", hint=hint) from error
    if exact and (found := fault(data)):
        raise UnreadableError(path, found, hint=hint)
    return data


def decoded(text: bytes) -> dict[str, Any]:
    """The data of a text that is known to be TOML."""
    return tomllib.loads(text.decode("utf-8"))
