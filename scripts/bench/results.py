"""Raw results as JSON lines, and the statistics that tables show."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from models import HOME

RAW = HOME / "results.jsonl"


def record(kind: str, **fields: Any) -> None:
    """Append one result, and say it."""
    line = {"kind": kind, "at": time.strftime("%Y-%m-%dT%H:%M:%S"), **fields}
    with RAW.open("a") as file:
        file.write(json.dumps(line) + "\n")
    print(" ".join(f"{name}={value}" for name, value in line.items() if name != "at"), flush=True)


# What names a result; of two with the same name the later one counts.
_KEY = ("model", "tool", "scheme", "runtime", "n", "seed", "repetition", "threads")


def load(kind: str, path: Path = RAW) -> list[dict[str, Any]]:
    """The results of a kind, in the order taken."""
    lines = [line for line in map(json.loads, path.read_text().splitlines()) if line["kind"] == kind]
    return list({tuple(line.get(field) for field in _KEY): line for line in lines}.values())


def keep(kinds: Sequence[str], kept: Path) -> None:
    """Add what was measured here to what the repository keeps; of two with the same name the later counts."""
    paths = [path for path in (kept, RAW) if path.exists()]
    lines = (line for path in paths for line in map(json.loads, path.read_text().splitlines()) if line["kind"] in kinds)
    found: dict[tuple[Any, ...], dict[str, Any]] = {}
    for line in lines:
        name = (line["kind"], *(line.get(field) for field in _KEY))
        if name not in found or found[name].get("at", "") <= line.get("at", ""):
            found[name] = line
    kept.write_text("".join(json.dumps(line) + "\n" for line in found.values()))


def ratio(ours: Sequence[float], theirs: Sequence[float], seed: int = 0) -> tuple[float, float, float]:
    """Median of ours over median of theirs, with a 95 % percentile bootstrap over the repetitions of each."""
    rng = np.random.default_rng(seed)
    a, b = (np.median(rng.choice(x, (2000, len(x))), axis=1) for x in (ours, theirs))
    low, high = np.percentile(a / b, [2.5, 97.5])
    return float(np.median(ours) / np.median(theirs)), float(low), float(high)


def geometric_mean(values: Sequence[float]) -> float:
    """The geometric mean of positive values."""
    return float(np.exp(np.mean(np.log(values))))
