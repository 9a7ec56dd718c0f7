"""Write the tables of docs/zoo.md from the results: everything below its marker line."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from .run import Line, results
from .zoo import FLOAT, TARGETS, models

DOCUMENT = Path(__file__).resolve().parents[2] / "docs" / "zoo.md"
MARKER = "<!-- Everything below is written by scripts/zoo render. -->"
# What a result can be, the good ones first; all after `warned` are faults.
VERDICTS = ("works", "refused", "warned", "wrong", "does not run", "traceback", "hang", "crash")
_Results = Mapping[tuple[str, str, str], Line]


def write() -> None:
    """Rewrite the part of the document below the marker."""
    known = {key: line for key, line in results().items() if key[0] in models() and line["verdict"] in VERDICTS}
    head = DOCUMENT.read_text().split(MARKER)[0]
    parts = [*_counts(known), *_reasons(known), *_lint(known), *_models(known)]
    DOCUMENT.write_text(f"{head}{MARKER}\n\n" + "\n".join(parts).rstrip() + "\n")


def _columns(known: _Results) -> list[tuple[str, str]]:
    """Targets and precisions that have a result."""
    every = [(target, precision) for target in TARGETS for precision in ("int8", FLOAT[target])]
    return [column for column in every if any(key[1:] == column for key in known)]


def _counts(known: _Results) -> Iterator[str]:
    ran = len({name for name, _, _ in known})
    yield f"## Counts\n\n{ran} of {len(models())} models have a result, {len(known)} exports in all.\n"
    found = {column: Counter(line["verdict"] for key, line in known.items() if key[1:] == column)
             for column in _columns(known)}  # fmt: skip
    rows = [
        [f"`{target}`", precision, sum(count.values()), *(count[verdict] for verdict in VERDICTS),
         f"{100 * count['works'] / sum(count.values()):.0f} %"]
        for (target, precision), count in found.items()
    ]  # fmt: skip
    yield _table(("target", "precision", "exports", *VERDICTS, "work"), rows)


def _reasons(known: _Results) -> Iterator[str]:
    for title, verdicts in (("Refused", ("refused",)), ("Warned", ("warned",)), ("Fails", VERDICTS[3:])):
        yield f"## {title}\n"
        grouped: defaultdict[str, set[str]] = defaultdict(set)
        for (name, target, precision), line in known.items():
            if line["verdict"] in verdicts:
                grouped[_said(line)].add(f"{name} ({target}, {precision})")
        if not grouped:
            yield "None.\n"
        for said, where in sorted(grouped.items(), key=lambda item: -len(item[1])):
            yield f"- {said}\n  {'; '.join(sorted(where))}\n"


def _lint(known: _Results) -> Iterator[str]:
    """What lint finds in what was shipped, by rule: each of them is a false alarm or a fault of the export."""
    asked = {key: line["lint"] for key, line in known.items() if "lint" in line}
    if not asked:
        return
    found = Counter(said.partition("]")[0].replace("[", "") for each in asked.values() for said in each)
    rules = ", ".join(f"{rule}: {count}" for rule, count in found.most_common()) or "nothing"
    yield f"## Lint\n\n`edgepress lint` was asked of {len(asked)} bundles and found {rules}.\n"


def _said(line: Line) -> str:
    """Why it did not work."""
    if line["verdict"] in ("warned", "wrong"):
        return f"**{line['verdict']}**: `{line['output']}` {line['sqnr_db']} dB, its graph {line['graph_db']} dB"
    words = " ".join(f"{_shortened(line.get('message', ''))} {line.get('hint') or ''}".split())
    return words if line["verdict"] == "refused" else f"**{line['verdict']}**: {words}"


def _shortened(message: str) -> str:
    """A message whose traceback is its last line alone, without where on this machine the library lies."""
    before, traced, lines = message.partition("Traceback (most recent call last):")
    last = lines.rpartition('File "')[2].replace("^", "").replace('"', "") if traced else ""
    return before + (f"At {last.rpartition('site-packages/')[2]}" if last else "")


def _models(known: _Results) -> Iterator[str]:
    for library in dict.fromkeys(model.library for model in models().values()):
        rows = [[name, *_figures(known, name)] for name, model in models().items() if model.library == library
                if any(key[0] == name for key in known)]  # fmt: skip
        if rows:
            yield f"## {library}\n"
            yield _table(("", *(f"{target} {precision}" for target, precision in _columns(known))), rows)


def _figures(known: _Results, name: str) -> Iterator[str]:
    for column in _columns(known):
        line = known.get((name, *column))
        yield "" if line is None else _figure(line)


def _figure(line: Line) -> str:
    if "sqnr_db" not in line:
        return str(line["verdict"])
    figure = f"{line['sqnr_db']:.0f} dB, {_size(line['size'])}"
    return figure if line["verdict"] == "works" else f"**{line['verdict']}** {figure}"


def _size(size: int) -> str:
    return f"{size / 1e6:.1f} MB" if size >= 1e6 else f"{size / 1e3:.0f} kB"


def _table(head: Iterable[object], rows: Iterable[Iterable[object]]) -> str:
    lines = [list(map(str, row)) for row in (head, *rows)]
    ruled = [lines[0], ["---"] * len(lines[0]), *lines[1:]]
    return "\n".join(f"| {' | '.join(row)} |" for row in ruled) + "\n"
