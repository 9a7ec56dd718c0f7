"""What a damaged file makes the libraries raise that read it: one message, whatever it was."""

from __future__ import annotations

import contextlib
import traceback
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ...errors import EdgepressError, InputError
from ...profiles.reading.opened import in_words

_FOR_PEOPLE = frozenset({"doc_string", "producer_name", "producer_version", "metadata_props"})
_OURS = Path(__file__).resolve().parents[2]


@contextlib.contextmanager
def damage_explained(path: Path) -> Iterator[None]:
    """Inside, libraries read what a file holds; an exception out of them means that it holds nonsense.

    What was raised in our own code is a bug, and keeps its traceback.

    Raises:
        InputError: the file cannot be understood.
    """
    try:
        yield
    except EdgepressError:
        raise
    except Exception as error:
        if _is_ours(error):
            raise
        raise InputError(
            f"{path} is not a valid ONNX model: {_words(error)}",
            hint="It may be damaged. Copy or export the file again, and compare its size with the original's.",
        ) from error


def no_text(message: Any) -> str | None:
    """The first name in a protocol buffer that is not UTF-8, as Python writes such bytes; None where all are text.

    What only people read, as a description, may be of any encoding.
    """
    for field, value in message.ListFields():
        if field.name in _FOR_PEOPLE or field.type not in (field.TYPE_STRING, field.TYPE_MESSAGE):
            continue
        for one in (value,) if isinstance(value, str | bytes) or hasattr(value, "ListFields") else value:
            found = no_text(one) if field.type == field.TYPE_MESSAGE else repr(one) if isinstance(one, bytes) else None
            if found is not None:
                return found
    return None


def _is_ours(error: Exception) -> bool:
    frames = traceback.extract_tb(error.__traceback__)
    file = Path(frames[-1].filename).resolve()
    return file.is_relative_to(_OURS) and "site-packages" not in file.parts


def _words(error: BaseException) -> str:
    """The first line of the innermost cause, kept short: a library may quote the whole model."""
    while error.__cause__ is not None:
        error = error.__cause__
    said = in_words(error)
    return said if said == type(error).__name__ else f"{type(error).__name__}: {said}"
