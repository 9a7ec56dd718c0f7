"""Does `edgepress compare` see a difference where there is one, and none where there is none?

    python scripts/bench/comparison.py run --count 40
    python scripts/bench/comparison.py render

`run` compares a bundle with itself, and a graph of 40 equal convolutions with one of 42, which is 5 % more work, every
other time the other way round. Each comparison is appended to .bench/results.jsonl; a run that was stopped goes on
where it was. `render` writes the section of docs/benchmarks-measurement.md.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from chain import chain
from models import HOME, ROOT
from results import RAW, load, record
from sections import MEASUREMENT, table, write_section

from edgepress.profiles.machine.environment import this_machine

EDGEPRESS = Path(sys.executable).with_name("edgepress")
WORK = HOME / "comparison"
LAYERS = (40, 42)
KINDS = {"aa": "a bundle and itself", "ab": "5 % more work"}


def main() -> None:
    """Run or render."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("part", choices=("run", "render"))
    parser.add_argument("--count", type=int, default=40, help="comparisons of each kind in all")
    parser.add_argument("--kinds", nargs="+", choices=tuple(KINDS), default=list(KINDS))
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--seconds", type=float, default=50.0)
    parser.add_argument("--bundle", type=Path, help="for A/A; default: digits for cpu, exported once")
    options = parser.parse_args()
    if options.part == "render":
        write_section("comparison", _section(), MEASUREMENT)
        return
    words = ["--threads", str(options.threads), "--seconds", str(options.seconds)]
    for index in range(options.count):
        for kind in options.kinds:
            if index not in _done(kind, options.threads):
                _compare(kind, index, options.threads, _sides(kind, index, options.bundle), words)


def _done(kind: str, threads: int) -> set[int]:
    """Comparisons that an earlier run finished."""
    if not RAW.exists():
        return set()
    return {line["repetition"] for line in _results(kind) if line["threads"] == threads}


def _results(kind: str) -> list[dict[str, Any]]:
    return [line for line in load("comparison") if line["tool"].startswith(kind)]


def _sides(kind: str, index: int, bundle: Path | None) -> list[str]:
    if kind == "aa":
        path = bundle or WORK / "digits-cpu"
        if not path.exists():
            source = ROOT / "examples" / "digits.py"
            subprocess.run([EDGEPRESS, "export", source, "-t", "cpu", "-o", WORK, "--no-measure", "-q"], check=True)
        return [str(path), str(path)]
    files = [chain(WORK / f"chain-{layers}.onnx", layers) for layers in LAYERS]
    return [*map(str, files if index % 2 == 0 else files[::-1]), "-t", "cpu"]


def _compare(kind: str, index: int, threads: int, sides: Sequence[str], words: Sequence[str]) -> None:
    before = _ticks()
    done = subprocess.run([EDGEPRESS, "compare", *sides, *words, "--json"], capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(done.stderr)
    found, after = json.loads(done.stdout), _ticks()
    busy, own = after["busy"] - before["busy"], after["own"] - before["own"]
    record(
        "comparison",
        tool=f"{kind}-{threads}",
        repetition=index,
        threads=threads,
        swapped=kind == "ab" and index % 2 == 1,
        verdict=found["verdict"],
        ratio=found["outcome"]["ratio"],
        processes=found["outcome"]["processes"],
        turns=found["outcome"]["turns"],
        seconds=round(found["seconds"], 1),
        p50=found["a"]["latency"]["p50"],
        load=os.getloadavg()[0],
        others=round(max(0.0, busy - own) / max(after["all"] - before["all"], 1), 3),
        machine=str(this_machine()),
    )


def _ticks() -> dict[str, float]:
    """Processor time in ticks: of all, of what was not idle (stolen time included), and of this script's children."""
    fields = [int(word) for word in Path("/proc/stat").read_text().splitlines()[0].split()[1:9]]
    times = os.times()
    own = (times.children_user + times.children_system) * os.sysconf("SC_CLK_TCK")
    return {"all": sum(fields), "busy": sum(fields) - fields[3] - fields[4], "own": own}


def _section() -> list[str]:
    lines = [
        "## Comparisons",
        "",
        "`edgepress compare` of a bundle with itself (A/A), and of a graph of 40 equal convolutions with one of 42, "
        "which is 5 % more work (A/B), every other time with the slower one first. A claim needs an interval that "
        "excludes 1 and a difference of at least 2 %. *Wrong* is a claim in A/A, or of the wrong direction in A/B. "
        "*Others* is the share of all processor time that other processes and the hypervisor took meanwhile, median "
        "and most.",
        "",
    ]
    rows = [_row(kind, threads) for kind in KINDS for threads in _threads(kind)]
    machines = sorted({line["machine"] for kind in KINDS for line in _results(kind)})
    head = ["", "threads", "n", "claimed", "wrong", "ratio, B over A", "seconds (most)", "processes", "others"]
    command = "    python scripts/bench/comparison.py run --count 40"
    return [*lines, table(head, rows), f"On {'; '.join(machines)}.", "", command]


def _threads(kind: str) -> list[int]:
    return sorted({line["threads"] for line in _results(kind)})


def _row(kind: str, threads: int) -> list[str]:
    found = [line for line in _results(kind) if line["threads"] == threads]
    claimed = [line for line in found if line["verdict"] != "no difference shown"]
    true = {False: "slower", True: "faster"}
    right = [line for line in claimed if kind == "ab" and line["verdict"] == true[line["swapped"]]]
    ratios = [line["ratio"]["value"] ** (1 if line["swapped"] else -1) for line in found]
    low, middle, high = np.percentile(ratios, [5, 50, 95])
    seconds, others = [line["seconds"] for line in found], [line["others"] for line in found]
    return [
        f"{kind[0].upper()}/{kind[1].upper()}, {KINDS[kind]}",
        str(threads),
        str(len(found)),
        str(len(claimed)),
        str(len(claimed) - len(right)),
        f"{middle:.3f} (5 to 95 %: {low:.3f} to {high:.3f})",
        f"{np.median(seconds):.0f} ({max(seconds):.0f})",
        f"{min(line['processes'] for line in found)} to {max(line['processes'] for line in found)}",
        f"{np.median(others):.0%}, {max(others):.0%}",
    ]


if __name__ == "__main__":
    main()
