"""What many trials gave, as a table."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

ENDS = ("made", "refused", "wrong", "traceback", "crash", "hang", "memory", "outside", "foreign")


def render(files: list[Path]) -> str:
    """A Markdown table: what was damaged, and how the commands ended."""
    records = [json.loads(line) for file in files for line in file.read_text().splitlines()]
    counts = Counter((record["subject"], record["ended"]) for record in records)
    subjects = sorted({record["subject"] for record in records})
    lines = [f"| damaged | {' | '.join(ENDS)} |", "|---|" + "---:|" * len(ENDS)]
    lines += [f"| {s} | {' | '.join(str(counts[s, end]) for end in ENDS)} |" for s in subjects]
    totals = [str(sum(counts[s, end] for s in subjects)) for end in ENDS]
    return "\n".join([*lines, f"| all {len(records)} | {' | '.join(totals)} |"])
