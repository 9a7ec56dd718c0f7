"""The files of a bundle as they lie on disk: no link is followed, and nothing but files and directories is accepted."""

from __future__ import annotations

import os
import stat
from pathlib import Path

from ...errors import VerificationError

AGAIN = "Copy the bundle again, whole, or export it again."


def regular_files(directory: Path) -> dict[str, Path]:
    """Every file below the directory, by name with forward slashes.

    Raises:
        VerificationError: something there is neither a file nor a directory.
        OSError: a directory cannot be read.
    """
    found: dict[str, Path] = {}
    for folder, directories, files in os.walk(directory, onerror=_raise):
        for name in (*directories, *files):
            path = Path(folder, name)
            mode, inside = path.lstat().st_mode, path.relative_to(directory).as_posix()
            if not stat.S_ISREG(mode) and not stat.S_ISDIR(mode):
                what = "a link" if stat.S_ISLNK(mode) else "no regular file"
                raise VerificationError(f"{directory}: {inside} is {what}.", hint=AGAIN)
            if stat.S_ISREG(mode):
                found[inside] = path
    return dict(sorted(found.items()))


def _raise(error: OSError) -> None:
    raise error
