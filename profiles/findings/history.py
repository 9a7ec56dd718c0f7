"""A history file: one line of JSON a run, only ever appended to. Its schema is `docs/history.schema.json`."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from pydantic import TypeAdapter, ValidationError
from pydantic_core import to_jsonable_python

from ...errors import InputError
from ..budget.figure import Figure
from ..machine.environment import Machine
from ..reading.json_file import NotJsonError, decoded
from ..reading.opened import in_words, read_bytes

SCHEMA = 1
# A run has 3 kB: a hundred thousand of them, and a line that no run is as long as.
MOST, LONGEST = 256 << 20, 1 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """One run of an export, a check or a profile.

    Attributes:
        date: UTC, ISO 8601.
        model: the name of the bundle's model, or of what was profiled.
        source: digest of the model, or of the engine that was profiled.
        figures: by the names of budgets, with their 95 % intervals.
        verdicts: status by what was judged.
        threads: that the engine ran with; 0 where it did not run.
        commit: of the git repository in whose tree the command ran, with `-dirty` where it held changes; empty
            where there is none.
    """

    schema: int = SCHEMA
    kind: Literal["export", "profile"]
    date: str
    model: str
    target: str
    precision: str
    runtime: str
    source: str
    figures: Mapping[str, Figure]
    machine: Machine
    tools: Mapping[str, str]
    verdicts: Mapping[str, str] = field(default_factory=dict)
    threads: int = 0
    commit: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class History:
    """What a file holds.

    Attributes:
        cut: lines that are no runs, by number from 1, with the reason: what a full disk or a kill left.
    """

    runs: tuple[Run, ...]
    cut: Mapping[int, str] = field(default_factory=dict)


def line(run: Run) -> str:
    """One run as one line, with its end."""
    return json.dumps(to_jsonable_python(run), sort_keys=True, ensure_ascii=False, allow_nan=False) + "\n"


def load_history(path: Path) -> History:
    """The runs of a file, in its order; a line that was cut off costs that line alone.

    Raises:
        InputError: it cannot be read, it holds no run at all, or runs of a later schema.
    """
    lines = read_bytes(path, most=MOST, hint="`--history FILE` writes it.").split(b"\n")
    runs: list[Run] = []
    cut: dict[int, str] = {}
    for number, text in enumerate(lines, 1):
        if not text.strip():
            continue
        found = _run(text, path, number)
        if isinstance(found, Run):
            runs.append(found)
        else:
            cut[number] = found
    if not runs and cut:
        raise InputError(
            f"{path} is no history: line {min(cut)}: {cut[min(cut)]}.", hint="`--history FILE` writes one."
        )
    return History(runs=tuple(runs), cut=cut)


def _run(text: bytes, path: Path, number: int) -> Run | str:
    if len(text) > LONGEST:
        return f"it has more than {LONGEST >> 20} MB"
    try:
        data: Any = decoded(text)
    except NotJsonError:
        return "it is not JSON to its end"
    except (ValueError, RecursionError) as error:
        return in_words(error)
    schema = data.get("schema") if isinstance(data, dict) else None
    if isinstance(schema, int) and schema > SCHEMA:
        hint = "Read it with the edgepress that wrote it."
        raise InputError(f"{path}, line {number} has schema {schema}; this edgepress reads {SCHEMA}.", hint=hint)
    try:
        return _ADAPTER.validate_python(data)
    except ValidationError as error:
        first = error.errors()[0]
        return f"`{'.'.join(map(str, first['loc']))}`: {first['msg']}"


def series(runs: Sequence[Run]) -> dict[tuple[str, str], list[Run]]:
    """The runs of each model and target, the oldest first."""
    found: dict[tuple[str, str], list[Run]] = {}
    for run in sorted(runs, key=lambda run: run.date):
        found.setdefault((run.model, run.target), []).append(run)
    return found


_ADAPTER: TypeAdapter[Run] = TypeAdapter(Run)


def json_schema() -> str:
    """The JSON schema of a line."""
    return json.dumps(_ADAPTER.json_schema(), indent=2, sort_keys=True) + "\n"


if __name__ == "__main__":
    print(json_schema(), end="")
