"""Tables of docs/: one marked section a benchmark, each written by its own script."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from models import ROOT

COMPRESSION = ROOT / "docs" / "benchmarks-compression.md"
MEASUREMENT = ROOT / "docs" / "benchmarks-measurement.md"


def write_section(name: str, lines: Sequence[str], document: Path = COMPRESSION) -> None:
    """Replace what stands between the marks of the section; a new section is put at the end."""
    begin, end = f"<!-- {name}: written by scripts/bench/{name}.py -->", f"<!-- end of {name} -->"
    title = document.stem.rpartition("-")[2].capitalize()
    text = document.read_text(encoding="utf-8") if document.exists() else f"# {title}\n"
    if begin not in text:
        text = f"{text.rstrip()}\n\n{begin}\n{end}\n"
    head, _, rest = text.partition(begin)
    _, _, tail = rest.partition(end)
    body = "\n".join(lines).strip()
    document.write_text(f"{head}{begin}\n\n{body}\n\n{end}{tail}", encoding="utf-8")


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A Markdown table."""
    return "\n".join(f"| {' | '.join(cells)} |" for cells in (head, ["---"] * len(head), *rows)) + "\n"
