"""A history file: one line of JSON a run, only ever appended to. Its schema is `docs/history.schema.json`."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from pydantic import TypeAdapter, ValidationError
from pydantic_core import to_jsonable_python

from ...errors import InputError
from ..budget.figure import Figure
from ..machine.environment import Machine
from ..reading.json_file import NotJsonError, decoded, need_memory, reckoned
from ..reading.opened import in_words, opened
from ..reading.validator import first_fault, value_of

SCHEMA = 1
# A run has 3 kB: twenty thousand of them, and a line that no run is as long as.
MOST, LONGEST = 64 << 20, 1 << 20
# A full disk or a kill cuts one line a run; a file of more of them never was a history.
MOST_CUT = 1000


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
    runs: list[Run] = []
    cut: dict[int, str] = {}
    for number, found in _lines(path):
        if isinstance(found, Run):
            runs.append(found)
        else:
            cut[number] = found
        if len(cut) > MOST_CUT:
            break
    if (not runs and cut) or len(cut) > MOST_CUT:
        raise InputError(
            f"{path} is no history: line {min(cut)}: {cut[min(cut)]}.", hint="`--history FILE` writes one."
        )
    return History(runs=tuple(runs), cut=cut)


def _lines(path: Path) -> Iterator[tuple[int, Run | str]]:
    """Each line that holds something, by its number: the run, or why it is none."""
    takes = 0
    with opened(path, most=MOST, hint="`--history FILE` writes it.") as file:
        for number, text in enumerate(file, 1):
            if text.strip():
                takes += reckoned(text)
                need_memory(takes)
                yield number, _run(text.rstrip(b"\n"), path, number)


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
        return value_of(Run, data)
    except ValidationError as error:
        return first_fault(error)


def series(runs: Sequence[Run]) -> dict[tuple[str, str], list[Run]]:
    """The runs of each model and target, the oldest first."""
    found: dict[tuple[str, str], list[Run]] = {}
    for run in sorted(runs, key=lambda run: run.date):
        found.setdefault((run.model, run.target), []).append(run)
    return found


def json_schema() -> str:
    """The JSON schema of a line."""
    return json.dumps(TypeAdapter(Run).json_schema(), indent=2, sort_keys=True) + "\n"


if __name__ == "__main__":
    print(json_schema(), end="")
