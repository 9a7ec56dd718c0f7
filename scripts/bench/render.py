"""Write the tables of docs/benchmarks.md from the raw results: everything below its marker line.

python scripts/bench/render.py [RESULTS.jsonl]
"""

from __future__ import annotations

import sys
from collections import defaultdict
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from models import MODELS, ROOT
from results import RAW, geometric_mean, load, ratio

DOCUMENT = ROOT / "docs" / "benchmarks.md"
MARKER = "<!-- Everything below is written by scripts/bench/render.py. -->"
Lines = list[dict[str, Any]]
# Reading all samples, and stopping when the ranges have settled.
OURS = ("edgepress", "edgepress-settled")


def main() -> None:
    """Rewrite the part of the document below the marker."""
    path = Path(sys.argv[1]) if len(sys.argv) > 1 else RAW
    head = DOCUMENT.read_text().split(MARKER)[0]
    parts = [*_cost(load("time", path)), *_accuracy(load("accuracy", path)), *_latency(load("latency", path))]
    DOCUMENT.write_text(f"{head}{MARKER}\n\n" + "\n".join(parts).rstrip() + "\n")


def _cost(lines: Lines) -> Iterable[str]:
    """For each N: seconds and added memory; then edgepress against each peer."""
    for n in sorted({line["n"] for line in lines}):
        runs = _grouped([line for line in lines if line["n"] == n], "tool", "model")
        models = _known({model for _, model in runs})
        yield f"### FP32 file to int8 file, N = {n}: seconds, median (processor seconds) / added peak memory, MB\n"
        tools = list(dict.fromkeys(tool for tool, _ in runs))
        yield _table(models, {tool: [_spent(runs.get((tool, model), [])) for model in models] for tool in tools})
        yield "Time of edgepress over that of the peer, with its 95 % interval; last, the geometric mean.\n"
        peers = [tool for tool in tools if not tool.startswith("edgepress")]
        rows = {}
        for ours in (tool for tool in OURS if tool in tools):
            rows |= {f"{ours} / {peer}": _ratios(runs, ours, peer, models, "seconds") for peer in peers}
        rows |= {
            f"edgepress / {peer}, processor time": _ratios(runs, "edgepress", peer, models, "processor_seconds")
            for peer in peers
        }
        if peers:
            yield _table([*models, "mean"], rows)


def _spent(runs: Lines) -> str:
    done = [run for run in runs if "error" not in run]
    if not done:
        return "failed" if runs else ""
    seconds, processor, memory = (_median(done, key) for key in ("seconds", "processor_seconds", "added_mb"))
    return f"{seconds:.2f} ({processor:.2f}) / {memory:.0f}"


def _ratios(runs: dict[tuple[str, ...], Lines], mine: str, peer: str, models: Sequence[str], field: str) -> list[str]:
    cells, values = [], []
    for model in models:
        ours, theirs = ([run[field] for run in runs.get((tool, model), []) if field in run] for tool in (mine, peer))
        if not ours or not theirs:
            cells.append("")
            continue
        value, low, high = ratio(ours, theirs)
        values.append(value)
        cells.append(f"{value:.2f} [{low:.2f}, {high:.2f}]")
    return [*cells, f"**{geometric_mean(values):.2f}**" if values else ""]


def _accuracy(lines: Lines) -> Iterable[str]:
    """For each scheme and runtime: SQNR, cosine and metric, mean over the calibration subsets."""
    for (scheme, runtime), part in _grouped([x for x in lines if "sqnr_db" in x], "scheme", "runtime").items():
        runs = _grouped(part, "tool", "model")
        models = _known({model for _, model in runs})
        floats = ", ".join(f"{m} {next(x['fp32'] for x in part if x['model'] == m):.4g}" for m in models)
        yield f"### Held-out accuracy, {scheme}, run on {runtime}: SQNR in dB ± range / cosine / metric\n"
        yield f"The metric of FP32: {floats}.\n"
        tools = list(dict.fromkeys(tool for tool, _ in runs))
        yield _table(models, {tool: [_quality(runs.get((tool, model), [])) for model in models] for tool in tools})
    errors = {f"{x['tool']} on {x['model']}, {x['scheme']}: {x['error']}" for x in lines if "error" in x}
    if errors:
        yield "Failed:\n\n" + "\n".join(f"- {text}" for text in sorted(errors)) + "\n"


def _quality(runs: Lines) -> str:
    if not runs:
        return ""
    sqnr = [run["sqnr_db"] for run in runs]
    spread = f" ± {(max(sqnr) - min(sqnr)) / 2:.1f}" if len(runs) > 1 else ""
    cosine, metric = (float(np.mean([run[key] for run in runs])) for key in ("cosine", "metric"))
    return f"{np.mean(sqnr):.1f}{spread} / {cosine:.4f} / {metric:.4f}"


def _latency(lines: Lines) -> Iterable[str]:
    """For each runtime: median, how many times faster edgepress's file is, and int8 coverage."""
    measured = [{"threads": 0, **line} for line in lines if "median_ms" in line]
    for (runtime, threads), part in _grouped(measured, "runtime", "threads").items():
        runs = _grouped(part, "tool", "model")
        models = _known({model for _, model in runs})
        how = f"{runtime}, {threads} thread" if threads else runtime
        yield f"### Latency on {how}, batch 1: median ms / times that edgepress's file is faster / int8 layers\n"
        tools = list(dict.fromkeys(tool for tool, _ in runs))
        yield _table(models, {tool: [_speed(runs.get((tool, model), [])) for model in models] for tool in tools})


def _speed(runs: Lines) -> str:
    if not runs:
        return ""
    run = runs[-1]
    cell = f"{run['median_ms']:.3f}"
    if "ours_faster" in run:
        value, low, high = run["ours_faster"]
        cell += f" / {value:.2f} [{low:.2f}, {high:.2f}]"
    return f"{cell} / {run['coverage']}" if "coverage" in run else cell


def _grouped(lines: Lines, *fields: str) -> dict[tuple[str, ...], Lines]:
    groups: dict[tuple[str, ...], Lines] = defaultdict(list)
    for line in lines:
        groups[tuple(line[field] for field in fields)].append(line)
    return dict(groups)


def _known(models: set[str]) -> list[str]:
    return [name for name in MODELS if name in models]


def _median(runs: Lines, field: str) -> float:
    return float(np.median([run[field] for run in runs]))


def _table(columns: Sequence[str], rows: dict[str, list[str]]) -> str:
    head = f"| | {' | '.join(columns)} |\n|{'---|' * (len(columns) + 1)}"
    return "\n".join([head, *(f"| {name} | {' | '.join(cells)} |" for name, cells in rows.items())]) + "\n"


if __name__ == "__main__":
    main()
