"""JSON: manifests, reports, measurements, histories, and the configuration of a Hugging Face directory."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, TypeVar

from pydantic import ValidationError

from ...errors import UnreadableError
from .opened import opened
from .validator import first_fault, value_of
from .values import fault

T = TypeVar("T")

# The report of a network of ten thousand layers has 5 MB.
MOST = 32 << 20
# Measurements keep raw samples: two minutes of a model of 10 microseconds are 12 million, in 90 MB.
MOST_SAMPLES = 128 << 20
# What a text's values may take once they are parsed, by `reckoned`; those 12 million take half of it.
MOST_MEMORY = 1 << 30
# Bytes of memory by the sign that a value cannot be written without, at most, in CPython 3.10 and later: an object and
# its table, a list and its first places, the place of a member, a number or text's place in a list, half of a text.
_TAKES = {b"{": 240, b"[": 100, b":": 120, b",": 45, b'"': 40}


def read_json(path: Path, *, hint: str | None = None, most: int = MOST, exact: bool = True) -> Any:
    """The data of a file.

    Args:
        most: bytes that it may have.
        exact: as `decoded`.

    Raises:
        UnreadableError: there is no such file, it is too large, or not JSON.
    """
    with opened(path, most=most, hint=hint) as file:
        return decoded(file.read(), exact=exact)


def read_as(path: Path, kind: type[T], *, hint: str) -> T:
    """The data of a file as a value of this type.

    Raises:
        UnreadableError: as `read_json`, or something in it is not as the type says.
    """
    data = read_json(path, hint=hint)
    try:
        return value_of(kind, data)
    except ValidationError as error:
        raise UnreadableError.of(path, first_fault(error), hint=hint) from error


def decoded(text: bytes, *, exact: bool = True) -> Any:
    """The data of a text.

    Args:
        exact: numbers are finite and fit into 64 bits, as JSON's own do; other programs write `Infinity` too.

    Raises:
        ValueError: it is not JSON, holds another number, or so many values that they would fill the memory.
        RecursionError: it is nested too deeply.
    """
    need_memory(reckoned(text))
    try:
        data = json.loads(text.decode("utf-8"))
    except ValueError as error:
        raise NotJsonError(f"it is not JSON: {error}") from error
    if exact and (found := fault(data)):
        raise ValueError(found)
    return data


def reckoned(text: bytes) -> int:
    """Bytes of memory that the values of a JSON text take at most, once they are parsed.

    A list of nothing has two bytes in a file, and 65 to 100 in memory.
    """
    return sum(takes * text.count(sign) for sign, takes in _TAKES.items())


def need_memory(takes: int) -> None:
    """Refuse what takes so many bytes of memory, where that is more than any file of ours does.

    Raises:
        ValueError: saying both.
    """
    if takes > MOST_MEMORY:
        most = f"{MOST_MEMORY / 1e9:.1f} GB are the most"
        raise ValueError(f"its values may take {takes / 1e9:.1f} GB of memory, where {most}")


class NotJsonError(ValueError):
    """A text is cut off, or was never JSON."""
