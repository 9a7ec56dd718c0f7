"""Where this user keeps what can be had again."""

from __future__ import annotations

import os
from pathlib import Path


def user_cache(name: str) -> Path | None:
    """The directory of a program in the user's cache, by the XDG Base Directory Specification; it need not exist.

    None where the user has no home directory.
    """
    given = os.environ.get("XDG_CACHE_HOME", "")
    base = Path(given if os.path.isabs(given) else os.path.expanduser("~/.cache"))
    return base / name if base.is_absolute() else None
