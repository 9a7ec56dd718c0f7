"""What a damaged file makes the libraries raise that read it: one message, whatever it was."""

from __future__ import annotations

import contextlib
import traceback
from collections.abc import Iterator
from pathlib import Path

from ...errors import EdgepressError, InputError

# What is told of a library's own message.
LINE = 200
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


def _is_ours(error: Exception) -> bool:
    frames = traceback.extract_tb(error.__traceback__)
    file = Path(frames[-1].filename).resolve()
    return file.is_relative_to(_OURS) and "site-packages" not in file.parts


def _words(error: BaseException) -> str:
    """The first line of the innermost cause, kept short: a library may quote the whole model."""
    while error.__cause__ is not None:
        error = error.__cause__
    first = next((line.strip() for line in str(error).splitlines() if line.strip()), "")
    return f"{type(error).__name__}: {first[:LINE]}".rstrip(": ")
