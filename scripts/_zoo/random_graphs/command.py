"""`scripts/zoo graphs`."""

from __future__ import annotations

import tempfile
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

from .trials import run


def export_graphs(seeds: str, results: Path) -> None:
    """Export the graphs of these seeds that have no line in the file, and say how each ended.

    Args:
        seeds: `FIRST:END`, or numbers with commas.
        results: a JSON line a seed.
    """
    results = results.absolute()
    results.parent.mkdir(parents=True, exist_ok=True)
    ended: Counter[str] = Counter()
    with tempfile.TemporaryDirectory(prefix="graphs-") as scratch:
        for found in run(_numbers(seeds), results, Path(scratch)):
            ended[found["verdict"]] += 1
            figures = " ".join(f"{one.get('sqnr_db', '')}" for one in found["judged"])
            said = next((text for text in found["said"].splitlines() if "rror" in text), "")
            way = f"{','.join(found['targets'])} {found['precision']}"
            print(f"{found['seed']:5} {way:32} {found['verdict']:9} {figures} {said[:150]}", flush=True)
    print(dict(ended))


def _numbers(seeds: str) -> Iterable[int]:
    first, colon, end = seeds.partition(":")
    return range(int(first), int(end)) if colon else map(int, seeds.split(","))
