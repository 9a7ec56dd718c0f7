"""The program of a bundle in a process that does not see edgepress."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

STANDINS = Path(__file__).parents[1]


def listed(root: Path, **changes: Any) -> None:
    """Write the manifest, as much of it as the program reads."""
    files = [path for path in root.rglob("*") if path.is_file() and path.name != "manifest.json"]
    entries = {
        path.relative_to(root).as_posix(): {"sha256": hashlib.sha256(path.read_bytes()).hexdigest()} for path in files
    }
    manifest = {"files": entries, "minimum_sqnr_db": 30.0, "minimum_graph_db": 25.0, **changes}
    (root / "manifest.json").write_text(json.dumps(manifest))


def started(
    root: Path, *words: str, environment: dict[str, str] | None = None, script: str = "build.py", given: str = ""
) -> Any:
    """The program in a process that does not see edgepress."""
    kept = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    command = (
        [sys.executable, "-B", root / "engine" / script] if script.endswith(".py") else ["sh", root / "engine" / script]
    )
    return subprocess.run(
        [*map(str, command), *words],
        cwd="/",
        input=given,
        env={**kept, "XDG_CACHE_HOME": str(root.parent / "cache"), **(environment or {})},
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
