"""A file that somebody gave, open: no pipe is waited for, no device is read, and nothing beyond its format's size."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from ...errors import EdgepressError, UnreadableError

# What is told of a library's own message.
LINE = 200


@contextmanager
def opened(
    path: Path, *, most: int | None = None, what: str = "cannot be read", hint: str | None = None
) -> Iterator[BinaryIO]:
    """The file, for reading. Inside, libraries read it: whatever they raise says that it is damaged.

    Args:
        most: bytes that it may have.
        what: is the matter with a damaged file, in a few words.
        hint: what to do about a file that cannot be read.

    Raises:
        UnreadableError: it is not there, no regular file or too large, or something was raised inside.
    """
    try:
        with _regular(path, hint) as file:
            _bound(path, os.fstat(file.fileno()).st_size, most)
            yield file
    except EdgepressError:
        raise
    except OSError as error:
        raise UnreadableError.of(path, in_words(error), hint=hint) from error
    except Exception as error:  # zipfile, numpy, safetensors, json, tomllib and protobuf raise a dozen kinds
        raise UnreadableError.of(path, in_words(error), what=what, hint=hint) from error


def read_bytes(path: Path, *, most: int, hint: str | None = None) -> bytes:
    """All of a file.

    Raises:
        UnreadableError: as `opened`.
    """
    with opened(path, most=most, hint=hint) as file:
        return file.read()


def in_words(error: BaseException) -> str:
    """What is wrong with a file, of which a library raised this: one line, kept short."""
    if isinstance(error, RecursionError):
        return "it is nested too deeply"
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    said = next((line.strip() for line in str(error).splitlines() if line.strip()), type(error).__name__)
    if isinstance(error, MemoryError):
        return f"this machine has not enough memory for what it says it holds: {said[:LINE]}"
    return said[:LINE]


def _regular(path: Path, hint: str | None) -> BinaryIO:
    # Without O_NONBLOCK, opening a pipe waits until somebody writes to it.
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    mode = os.fstat(descriptor).st_mode
    if stat.S_ISREG(mode):
        return os.fdopen(descriptor, "rb")
    os.close(descriptor)
    raise UnreadableError.of(path, "Is a directory" if stat.S_ISDIR(mode) else "it is no regular file", hint=hint)


def _bound(path: Path, size: int, most: int | None) -> None:
    if most is not None and size > most:
        raise UnreadableError.of(
            path,
            f"it has {_in_units(size)}, where {_in_units(most)} are the most",
            hint="Is it the file that was meant?",
        )


def _in_units(size: int) -> str:
    return f"{size / 1e6:.0f} MB" if size >= 1e6 else f"{size / 1e3:.0f} kB"
