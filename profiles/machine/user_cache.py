"""Where this user keeps what can be had again."""

from __future__ import annotations

import os
from pathlib import Path


def user_cache(name: str) -> Path:
    """The directory of a program in the user's cache, by the XDG Base Directory Specification; it need not exist."""
    given = os.environ.get("XDG_CACHE_HOME", "")
    return (Path(given) if Path(given).is_absolute() else Path.home() / ".cache") / name
