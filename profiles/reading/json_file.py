"""JSON: manifests, reports, measurements, histories, and the configuration of a Hugging Face directory."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, TypeVar

from pydantic import TypeAdapter, ValidationError

from ...errors import UnreadableError
from .opened import opened
from .values import fault

T = TypeVar("T")

# The report of a network of ten thousand layers has 5 MB. Parsed, a file takes up to twenty times its size.
MOST = 32 << 20
# Measurements keep raw samples: two minutes of a model of 10 microseconds are 12 million, in 90 MB.
MOST_SAMPLES = 256 << 20


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
        return TypeAdapter(kind).validate_python(data)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"]))
        raise UnreadableError.of(path, f"`{where}`: {first['msg']}", hint=hint) from error


def decoded(text: bytes, *, exact: bool = True) -> Any:
    """The data of a text.

    Args:
        exact: numbers are finite and fit into 64 bits, as JSON's own do; other programs write `Infinity` too.

    Raises:
        ValueError: it is not JSON, or holds another number.
        RecursionError: it is nested too deeply.
    """
    try:
        data = json.loads(text.decode("utf-8"))
    except ValueError as error:
        raise NotJsonError(f"it is not JSON: {error}") from error
    if exact and (found := fault(data)):
        raise ValueError(found)
    return data


class NotJsonError(ValueError):
    """A text is cut off, or was never JSON."""
