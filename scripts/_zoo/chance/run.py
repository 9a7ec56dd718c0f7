"""Export networks of seeds and say what came of them."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence

from ..lines import HOME, Line, newest, read
from ..run import Job, do, precisions

PREFIX = "random-"
RESULTS = HOME / "random.jsonl"
SUMMARY = HOME / "random.md"
# Targets of TensorRT, whose graphs are alike but for what float16 lacks, are asked of each so many seeds.
_SELDOM, _EACH = ("jetson", "rtx"), 4
VERDICTS = ("works", "no test", "warned", "refused", "wrong", "does not run", "traceback", "hang", "crash", "no model")


def run(
    seeds: range, targets: tuple[str, ...], kinds: tuple[str, ...], again: bool, limit: float, workers: int
) -> None:
    """Export what has no result yet, and write the summary.

    Args:
        again: what does not work once more.
        limit: seconds of processor time for one target.
    """
    HOME.mkdir(parents=True, exist_ok=True)
    do(_jobs(seeds, targets, kinds, again), RESULTS, limit, workers)
    SUMMARY.write_text(summary(list(newest(read(RESULTS)).values())))
    print(f"{SUMMARY} has the summary.")


def _jobs(seeds: range, targets: tuple[str, ...], kinds: tuple[str, ...], again: bool) -> Iterator[Job]:
    have = newest(read(RESULTS))
    for seed in seeds:
        asked = [target for target in targets if target not in _SELDOM or seed % _EACH == 0]
        for precision, of in precisions(asked, kinds):
            found = {target: have.get((f"{PREFIX}{seed}", target, precision)) for target in of}
            left = tuple(t for t, line in found.items() if line is None or (again and not _fine(line)))
            if left:
                yield f"{PREFIX}{seed}", precision, left


def _fine(line: Line) -> bool:
    return line["verdict"] in ("works", "no test")


def summary(lines: Sequence[Line]) -> str:
    """How many of each verdict, and why what does not work does not, alike reasons together (Markdown)."""
    columns = sorted({(line["target"], line["precision"]) for line in lines})
    counts = {column: Counter(line["verdict"] for line in lines if (line["target"], line["precision"]) == column)
              for column in columns}  # fmt: skip
    rows = [" | ".join((target, precision, *(str(counts[target, precision][verdict]) for verdict in VERDICTS)))
            for target, precision in columns]  # fmt: skip
    head = " | ".join(("target", "precision", *VERDICTS))
    table = [f"| {row} |" for row in (head, " | ".join(["---"] * (2 + len(VERDICTS))), *rows)]
    alike: defaultdict[tuple[str, str], list[Line]] = defaultdict(list)
    for line in lines:
        if not _fine(line):
            alike[line["verdict"], kind_of(line)].append(line)
    reasons = [f"- **{verdict}** {kind}\n  {', '.join(sorted({_named(line) for line in of}))}"
               for (verdict, kind), of in sorted(alike.items(), key=lambda item: -len(item[1]))]  # fmt: skip
    return "\n".join([*table, "", *reasons, ""])


def _named(line: Line) -> str:
    figure = f" {line['sqnr_db']:.0f} of {line['claimed_db'] or 0:.0f} dB" if "sqnr_db" in line else ""
    return f"{line['model'].removeprefix(PREFIX)} ({line['target']} {line['precision']}{figure})"


def kind_of(line: Line) -> str:
    """What is said, without names and numbers: what else is alike has one cause."""
    said = str(line.get("message") or "; ".join(line.get("warnings", ())))
    return re.sub(r"'[^']*'|\"[^\"]*\"", "…", re.sub(r"-?\d[\d.]*(e-?\d+)?", "#", " ".join(said.split())))[:200]
