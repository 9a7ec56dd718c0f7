"""The lines of results: those kept in the repository, and those of this machine on top."""

from __future__ import annotations

import json
import os
import subprocess
import threading
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, TypeAlias

Line: TypeAlias = dict[str, Any]
Key: TypeAlias = tuple[str, str, str]

ROOT = Path(__file__).resolve().parents[2]
# One line a model, target and precision: what docs/zoo.md is rendered from.
KEPT = ROOT / "docs" / "zoo.jsonl"
HOME = Path(os.environ.get("EDGEPRESS_ZOO", ".zoo"))
# Every line that a run here gave, in order.
RESULTS = HOME / "results.jsonl"
# What is kept of a line, in this order. Times, tracebacks and what a report warns of are looked up where it ran.
FIELDS = (
    "model", "target", "precision", "verdict", "sqnr_db", "graph_db", "output", "size", "integer", "layers",
    "code", "message", "hint", "lint", "torch", "trained", "date", "processor", "revision",
)  # fmt: skip
# Instruction sets that decide which integer and bf16 kernels a processor runs.
_DECIDING = ("avx2", "avx_vnni", "avx512_vnni", "avx512_bf16", "amx_int8", "asimddp", "i8mm")
_WRITING = threading.Lock()


def read(path: Path) -> list[Line]:
    """The lines of a file; none where there is no file."""
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def known() -> dict[Key, Line]:
    """The newest line of each model, target and precision, kept or of this machine."""
    return newest([*read(KEPT), *read(RESULTS)])


def newest(lines: Iterable[Line]) -> dict[Key, Line]:
    """Of lines about the same, the one of the latest date; of the same date the last one."""
    found: dict[Key, Line] = {}
    for line in lines:
        key = (line["model"], line["target"], line["precision"])
        if key not in found or line.get("date", "") >= found[key].get("date", ""):
            found[key] = line
    return found


def keep(lines: Iterable[Line]) -> None:
    """Write the file of the repository, in the given order."""
    KEPT.write_text("".join(f"{json.dumps(shortened(line), ensure_ascii=False)}\n" for line in lines))


def shortened(line: Line) -> Line:
    """What is kept of a line."""
    told = {**line, "message": told_traceback(line["message"])} if "message" in line else line
    return {field: told[field] for field in FIELDS if told.get(field) is not None}


def told_traceback(message: str) -> str:
    """A message whose traceback is its last line alone, without where on this machine the library lies."""
    before, traced, lines = message.partition("Traceback (most recent call last):")
    last = lines.rpartition('File "')[2].replace("^", "").replace('"', "") if traced else ""
    return before + (f"At {last.rpartition('site-packages/')[2]}" if last else "")


def add(line: Line, stamp: Mapping[str, str], path: Path = RESULTS) -> None:
    """Append what a run gave, with when, where and of which code."""
    with _WRITING, path.open("a") as file:
        file.write(json.dumps({**line, **stamp}) + "\n")


def stamp() -> dict[str, str]:
    """The time in UTC, the kind of processor, and the revision of the code, with a `+` where files differ from it."""
    from edgepress.profiles.machine.environment import now, this_machine

    machine = this_machine()
    isa = [flag for flag in _DECIDING if flag in machine.isa]
    return {"date": now(), "processor": f"{machine.processor} ({' '.join(isa)})", "revision": _revision()}


def _revision() -> str:
    command = ["git", "describe", "--always", "--abbrev=7", "--exclude=*", "--dirty=+"]
    told = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    return told.stdout.strip()
