"""The page of docs/ that says what became of each operator test."""

from __future__ import annotations

import json
import re
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

ENDS = ("right", "refused", "told", "unlike", "wrong", "traceback", "crash", "hang", "memory")
PACKAGES = ("onnx", "onnxruntime", "openvino")
HEAD = """# Operators

What an export without quantization (`--precision fp32`) makes of the operator tests in the `onnx` package. Each engine
is run on the test's own inputs, and its outputs are held against those that the test expects, within the test's
tolerance or 1e-4 of the largest value. The tests' inputs are also the calibration data, which shape the proof. `unlike`
is what ONNX's test expects otherwise, and onnxruntime without optimization gives for the file as well; `told` is what
differs as the report says, on infinities.

`scripts/operators run FILE` runs them, `scripts/operators render FILE` writes this page. With {versions}.
"""


def render(file: Path) -> str:
    """The page."""
    records = [json.loads(line) for line in file.read_text().splitlines()]
    versions = ", ".join(f"{name} {version(name)}" for name in PACKAGES)
    parts = [HEAD.format(versions=versions), _totals(records)]
    parts += ["## Wrong, or worse\n", _faults(records), "## Why tests were refused\n", _reasons(records)]
    parts += ["## By operator\n", _operators(records)]
    return "\n".join(parts)


def _totals(records: Sequence[Mapping[str, Any]]) -> str:
    counts = Counter((found["target"], found["ended"]) for found in records)
    targets = sorted({found["target"] for found in records})
    rows = [(target, *(str(counts[target, end]) for end in ENDS)) for target in targets]
    tests = len({found["test"] for found in records})
    return f"{tests} tests of {len(_by_operator(records))} operators:\n\n{_table(('target', *ENDS), rows)}"


def _faults(records: Sequence[Mapping[str, Any]]) -> str:
    rows = [
        (f"`{found['test']}`", found["target"], found["ended"], _short(found["why"]))
        for found in records
        if found["ended"] not in ("right", "refused")
    ]
    return _table(("test", "target", "ended", "how"), rows) if rows else "None.\n"


def _reasons(records: Sequence[Mapping[str, Any]]) -> str:
    refused: defaultdict[str, list[str]] = defaultdict(list)
    for found in records:
        if found["ended"] == "refused":
            refused[_kind(found["why"])].append(found["test"])
    ordered = sorted(refused.items(), key=lambda entry: (-len(entry[1]), entry[0]))
    rows = [(why, str(len(tests)), f"`{tests[0]}`") for why, tests in ordered]
    return _table(("reason", "exports", "one of them"), rows)


def _operators(records: Sequence[Mapping[str, Any]]) -> str:
    rows = []
    for operator, found in sorted(_by_operator(records).items()):
        counts = Counter((one["target"], one["ended"]) for one in found)
        targets = sorted({one["target"] for one in records})
        cells = [", ".join(f"{counts[t, e]} {e}" for e in ENDS if counts[t, e]) for t in targets]
        rows.append((operator, *cells))
    return _table(("operator", *sorted({one["target"] for one in records})), rows)


def _by_operator(records: Sequence[Mapping[str, Any]]) -> dict[str, list[Mapping[str, Any]]]:
    """Tests of one operator alone, by it."""
    found: defaultdict[str, list[Mapping[str, Any]]] = defaultdict(list)
    for record in records:
        if len(record["operators"]) == 1:
            found[record["operators"][0]].append(record)
    return found


def _kind(why: str) -> str:
    """The reason without what differs from test to test: names in quotes, numbers, the node."""
    lines = [line for line in why.splitlines() if line.strip()]
    said = lines[0] if len(lines) < 2 or not lines[0].endswith(":") else f"{lines[0]} {lines[1].strip()}"
    said = re.sub(r"node(\(s\))? .*? (\(\w+\))?", "node ", said) if "refuses" in said else said
    said = re.sub(r"'[^']*'", "'...'", said)
    return _short(re.sub(r"\d+(\.\d+)?(e[+-]?\d+)?", "N", said))


def _short(text: str) -> str:
    return " ".join(text.split())[:160].replace("|", "\\|").replace("<", "\\<")


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [f"| {' | '.join(row)} |" for row in (head, ["---"] * len(head), *rows)]
    return "\n".join(lines) + "\n"
