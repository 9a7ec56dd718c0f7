"""Keep the newest results in docs/zoo.jsonl, and write the tables of docs/zoo.md: all below its marker line."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping

from .lines import ROOT, Key, Line, keep, known, told_traceback
from .zoo import FLOAT, TARGETS, models

DOCUMENT = ROOT / "docs" / "zoo.md"
MARKER = "<!-- Everything below is written by scripts/zoo render. -->"
# What a result can be, the good ones first; all after `warned` are faults.
VERDICTS = ("works", "refused", "warned", "wrong", "does not run", "traceback", "hang", "crash")
_Results = Mapping[Key, Line]


def write() -> None:
    """Keep what is known of models of the zoo, and rewrite the part of the document below the marker."""
    named = models()
    have = {key: line for key, line in sorted(known().items()) if key[0] in named and line["verdict"] in VERDICTS}
    keep(have.values())
    head = DOCUMENT.read_text().split(MARKER)[0]
    parts = [*_counts(have), *_origins(have), *_weights(have), *_reasons(have), *_lint(have), *_models(have)]
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


def _origins(known: _Results) -> Iterator[str]:
    """Of which day, code and processor the rows are."""
    found = Counter((line["date"][:10], line["revision"], line["processor"]) for line in known.values())
    yield "## Of which day, code and machine\n"
    yield _table(("day", "code", "processor", "exports"), [[*of, count] for of, count in sorted(found.items())])


def _weights(known: _Results) -> Iterator[str]:
    """Which networks were trained here, and what torch itself keeps of their answers, before and after."""
    lines = [line for _, line in sorted(known.items()) if "trained" in line]
    trained = {line["model"]: line for line in sorted(lines, key=lambda line: line["date"])}
    if not trained:
        return
    yield "## Trained here\n\nIn dB: what torch keeps, with random weights and with trained ones.\n"
    head = (
        "",
        "inputs in 8 bits",
        "so random",
        "so trained",
        "float64, random",
        "trained",
        "steps",
        "loss",
        "accuracy",
    )
    yield _table(head, [_trained(name, line) for name, line in sorted(trained.items())])


def _trained(name: str, line: Line) -> list[object]:
    told, after = line["trained"], line["torch"]
    before = told["before"]
    kept = (after["inputs_db"], before["rounded_db"], after["rounded_db"], before["double_db"], after["double_db"])
    loss = f"{told['first_loss']:.2f} to {told['last_loss']:.2f}"
    return [name, *(f"{db:.1f}" for db in kept), told["steps"], loss, f"{100 * told['accuracy']:.0f} %"]


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
    """What lint says of the graphs that were shipped, of those rows that were asked."""
    asked = {key: line for key, line in known.items() if "lint" in line}
    if not asked:
        return
    errors = [key for key, line in asked.items() if any(one["severity"] == "error" for one in line["lint"])]
    held = f"{len(asked)} shipped graphs were held against the rules of their targets"
    yield f"## Lint\n\n{held}: {len(errors)} had errors.\n"
    grouped: defaultdict[tuple[str, str, str], list[tuple[str, Line]]] = defaultdict(list)
    for (name, target, precision), line in asked.items():
        for one in line["lint"]:
            kind = one["severity"], one["rule"], one["operator"]
            grouped[kind].append((f"{name} ({target}, {precision})", one))
    rows = [
        [
            severity,
            f"`{rule}`",
            operator,
            sum(one["nodes"] for _, one in found),
            len(found),
            f"{found[0][0]}: {found[0][1]['said']}",
        ]
        for (severity, rule, operator), found in sorted(grouped.items(), key=lambda item: -len(item[1]))
    ]
    yield _table(("severity", "rule", "operator", "nodes", "graphs", "the first"), rows) if rows else "No finding.\n"


def _said(line: Line) -> str:
    """Why it did not work."""
    if line["verdict"] in ("warned", "wrong"):
        return f"**{line['verdict']}**: `{line['output']}` {line['sqnr_db']} dB, its graph {line['graph_db']} dB"
    words = " ".join(f"{told_traceback(line.get('message', ''))} {line.get('hint') or ''}".split())
    return words if line["verdict"] == "refused" else f"**{line['verdict']}**: {words}"


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
    trained = "†" if "trained" in line else ""
    if "sqnr_db" not in line:
        return f"{line['verdict']}{trained}"
    figure = f"{line['sqnr_db']:.0f} dB{trained}, {_size(line['size'])}"
    return figure if line["verdict"] == "works" else f"**{line['verdict']}** {figure}"


def _size(size: int) -> str:
    return f"{size / 1e6:.1f} MB" if size >= 1e6 else f"{size / 1e3:.0f} kB"


def _table(head: Iterable[object], rows: Iterable[Iterable[object]]) -> str:
    lines = [list(map(str, row)) for row in (head, *rows)]
    ruled = [lines[0], ["---"] * len(lines[0]), *lines[1:]]
    return "\n".join(f"| {' | '.join(row)} |" for row in ruled) + "\n"
