"""Where trials run, and the file that their outcomes lie in, a JSON line each."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from forked import prepare


def known(results: Path) -> set[int]:
    """The seeds that have an outcome already."""
    results.parent.mkdir(parents=True, exist_ok=True)
    lines = results.read_text().splitlines() if results.exists() else []
    return {json.loads(line)["seed"] for line in lines}


@contextmanager
def scratch_directory() -> Iterator[Path]:
    """A temporary directory, with all imported that a fork needs."""
    with tempfile.TemporaryDirectory(prefix="attack-") as scratch:
        prepare(Path(scratch))
        yield Path(scratch)
