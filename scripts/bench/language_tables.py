"""The tables of docs/benchmarks-language.md, from the results."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from language_tools import TOOLS
from results import load, ratio
from sections import table

Line = dict[str, Any]
_HOW = {"weights": "what the integers stand for", "runs": "as it runs"}


def section(kept: Path) -> Iterator[str]:
    """For each model: size, cost and quality by size; then speed; of the results in `kept`."""
    qualities, costs, speeds = (load(f"language-{part}", kept) for part in ("quality", "made", "speed"))
    for model in dict.fromkeys(line["model"] for line in qualities):
        floats = {line["fp32"] for line in qualities if line["model"] == model and "fp32" in line}
        yield f"### {model}: size and quality; FP32 has perplexity {', '.join(f'{x:.2f}' for x in sorted(floats))}\n"
        made = {line["tool"]: line for line in costs if line["model"] == model}
        judged = {(line["tool"], line["scheme"]): line for line in qualities if line["model"] == model}
        yield table(_HEAD, [_row(name, made[name], judged) for name in _by_size(made)])
        yield from _failures(made, judged)
        yield from _speeds([line for line in speeds if line["model"] == model])


_HEAD = ("made by", "MB", "s (processor s)", "peak MB", "perplexity", "KL", "same token", "as it runs", "made on")


def _by_size(made: dict[str, Line]) -> list[str]:
    return sorted((name for name in made if "mb" in made[name]), key=lambda name: (made[name]["mb"], name))


def _row(name: str, cost: Line, judged: dict[tuple[str, str], Line]) -> list[str]:
    exact, runs = judged.get((name, "weights"), {}), judged.get((name, "runs"), {})
    wall = f"{cost['seconds']:.0f} " if "seconds" in cost else ""
    spent = f"{wall}({cost['processor_seconds']:.0f})" if "processor_seconds" in cost else ""
    peak = f"{cost['peak_mb']:.0f}" if "peak_mb" in cost else ""
    quality = [f"{_loss(exact)}", f"{exact['kl']:.4f}", f"{exact['agreement']:.3f}"] if "kl" in exact else [""] * 3
    return [_called(name), f"{cost['mb']:.1f}", spent, peak, *quality, _loss(runs), _where(cost)]


def _where(cost: Line) -> str:
    return f"{cost['machine']}, load {cost['load']:.0f}" if "load" in cost else cost["machine"]


def _called(name: str) -> str:
    return f"**{name}**" if TOOLS[name].family == "edgepress" else name


def _loss(line: Line) -> str:
    if "rise" not in line:
        return ""
    low, high = 100 * line["rise_low"], 100 * line["rise_high"]
    return f"{line['perplexity']:.2f}: {100 * line['rise']:+.1f} % [{low:.1f}, {high:.1f}]"


def _failures(made: dict[str, Line], judged: dict[tuple[str, str], Line]) -> Iterator[str]:
    failed = [f"{name}, made: {line['error']}" for name, line in made.items() if "error" in line]
    failed += [f"{name}, {_HOW[how]}: {line['error']}" for (name, how), line in judged.items() if "error" in line]
    if failed:
        yield "Failed:\n\n" + "\n".join(f"- {' '.join(text.split())}" for text in failed) + "\n"


def _speeds(lines: list[Line]) -> Iterator[str]:
    """Tokens a second on each runtime; behind it how much faster edgepress's directory of that run is."""
    for runtime in dict.fromkeys(TOOLS[line["tool"]].runtime for line in lines):
        runs = [line for line in lines if TOOLS[line["tool"]].runtime == runtime and "decode_128" in line]
        rounds = {line["tool"]: [other for other in runs if other["tool"] == line["tool"]] for line in runs}
        loads = sorted(line["load"] for line in runs)
        yield f"#### Speed on {runtime}; load average {loads[0]} to {loads[-1]} with the benchmark's own\n"
        ours = next((name for name in rounds if TOOLS[name].family == "edgepress"), None)
        yield table(("directory", *_MEASURES.values()), [_fast(name, rounds, ours) for name in rounds])


_MEASURES = {
    "prefill_128": "prefill of 128, tokens/s",
    "prefill_1024": "of 1,024",
    "decode_128": "decode at 128, tokens/s",
    "decode_1024": "at 1,024",
    "first_128": "first token of 128, ms",
    "peak_mb": "peak MB",
}


def _fast(name: str, rounds: dict[str, list[Line]], ours: str | None) -> list[str]:
    cells = []
    for measure in _MEASURES:
        values = [line[measure] for line in rounds[name] if measure in line]
        if not values:
            cells.append("")
            continue
        cell = f"{sorted(values)[len(values) // 2]:.0f}"
        if ours not in (None, name) and (mine := [line[measure] for line in rounds[ours] if measure in line]):
            value, low, high = ratio(mine, values)
            cell += f": {value:.2f} [{low:.2f}, {high:.2f}]"
        cells.append(cell)
    return [_called(name), *cells]
