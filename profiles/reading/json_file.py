"""JSON: manifests, reports, measurements, histories, and the configuration of a Hugging Face directory."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from .opened import opened
from .values import fault

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
