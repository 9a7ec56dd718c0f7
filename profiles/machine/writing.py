"""Files that exist whole or not at all, with the permissions that the user's umask leaves."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from .held import held
from .naming import naming


@contextmanager
def whole(path: Path) -> Iterator[Path]:
    """A new file in a directory beside `path` that takes its place when the block ends well, and vanishes otherwise.

    Raises:
        OSError: none can be made there.
    """
    with ExitStack() as stack:
        try:
            directory = stack.enter_context(held(path.parent, ".writing."))
        except OSError as error:
            error.filename = str(path)  # and no name that nobody gave
            raise
        scratch = directory / path.name
        # Not by tempfile, whose files are the owner's alone.
        os.close(os.open(scratch, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666))
        with naming(path):
            yield scratch
        os.replace(scratch, path)


def write_whole(path: Path, text: str) -> None:
    """Write a file that exists whole or not at all; one that is there is replaced."""
    with whole(path) as scratch:
        scratch.write_text(text, encoding="utf-8")
