"""Files that exist whole or not at all, with the permissions that the user's umask leaves."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from .given import as_typed, steady
from .held import held, temporary
from .naming import naming


@contextmanager
def whole(path: Path) -> Iterator[Path]:
    """A new file in a directory beside `path` that takes its place when the block ends well, and vanishes otherwise.

    A link stays, and what it leads to is replaced. A device and a pipe stay too, and what they are given is whole.

    Raises:
        OSError: none can be made there.
    """
    path = steady(path)  # the block may run code that goes elsewhere
    if _takes_bytes(path):
        with temporary() as directory, naming(path):
            yield directory / path.name
            _pour(directory / path.name, path)
        return
    place = Path(os.path.realpath(path))
    with ExitStack() as stack:
        try:
            directory = stack.enter_context(held(place.parent, ".writing."))
        except OSError as error:
            error.filename = str(as_typed(path))  # and no name that nobody gave
            raise
        scratch = directory / place.name
        # Not by tempfile, whose files are the owner's alone.
        os.close(os.open(scratch, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666))
        with naming(path):
            yield scratch
        os.replace(scratch, place)


def write_whole(path: Path, text: str) -> None:
    """Write a file that exists whole or not at all; one that is there is replaced."""
    with whole(path) as scratch:
        scratch.write_text(text, encoding="utf-8")


def _takes_bytes(path: Path) -> bool:
    """Whether there is a device, a pipe or the like, or a name of what this process has open, as /dev/stdout is."""
    if not path.exists() or path.is_dir():
        return False
    return not path.is_file() or _descriptor(path) is not None


def _pour(scratch: Path, path: Path) -> None:
    number = _descriptor(path)
    # Not opened anew: what a shell put before it in a file stays, and a socket cannot be.
    target = path if number is None else os.dup(number)
    with scratch.open("rb") as source, open(target, "wb") as sink:
        shutil.copyfileobj(source, sink)


def _descriptor(path: Path) -> int | None:
    """The one of this process that a name which exists leads to."""
    while path.is_symlink():
        place = Path(os.path.realpath(path.parent))
        if place == Path(f"/proc/{os.getpid()}/fd"):
            return int(path.name)
        path = place / os.readlink(path)
    return None
