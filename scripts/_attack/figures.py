"""What many trials gave, as tables."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

ENDS = ("made", "refused", "wrong", "traceback", "crash", "hang", "memory", "outside", "foreign")
FORMS = ("operation", "time", "process")


def render(files: Sequence[Path]) -> str:
    """A Markdown table for each kind of trial that is in the files."""
    records = [json.loads(line) for file in files for line in file.read_text().splitlines()]
    inputs = [record for record in records if "subject" in record]
    tables = [_ends(inputs)] if inputs else []
    struck = {what: [record for record in records if record.get("what") == what] for what in ("kills", "interrupts")}
    tables += [_strikes(what, bouts) for what, bouts in struck.items() if bouts]
    return "\n\n".join(tables)


def _ends(records: Sequence[dict[str, Any]]) -> str:
    """What was damaged, and how the commands ended."""
    counts = Counter((record["subject"], record["ended"]) for record in records)
    subjects = sorted({record["subject"] for record in records})
    rows = [[subject, *(counts[subject, end] for end in ENDS)] for subject in subjects]
    return _table(("damaged", *ENDS), rows, len(records))


def _strikes(what: str, bouts: Sequence[dict[str, Any]]) -> str:
    """How often each run was struck, by how the moment was chosen, and the faults that were found."""
    rows: list[list[Any]] = []
    for scenario in sorted({bout["scenario"] for bout in bouts}):
        own = [bout for bout in bouts if bout["scenario"] == scenario]
        forms = Counter(strike["form"] for bout in own for strike in bout["strikes"] if _hit(strike))
        faults = sum(bool(bout["fault"]) for bout in own)
        rows.append([scenario, forms.total(), *(forms[form] for form in FORMS), len(own), faults])
    return _table(("run", what, *(f"by {form}" for form in FORMS), "next runs", "faults"), rows)


def _hit(strike: dict[str, Any]) -> bool:
    """Whether the signal ended it: a run that was over, or had not begun, does not count."""
    return bool(strike["code"]) and strike["hit"] and not strike["early"]


def _table(head: Sequence[str], rows: Sequence[Sequence[Any]], count: int | None = None) -> str:
    sums = [sum(column) for column in zip(*(row[1:] for row in rows), strict=True)]
    total = ["all" if count is None else f"all {count}", *sums]
    return "\n".join(_lines([head, ["---", *["---:"] * len(sums)], *rows, total]))


def _lines(rows: Sequence[Sequence[Any]]) -> Iterator[str]:
    return ("| " + " | ".join(map(str, row)) + " |" for row in rows)
