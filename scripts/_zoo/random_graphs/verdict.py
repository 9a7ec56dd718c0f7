"""What a bundle's engine gives, opened plainly, against onnxruntime on the file that was exported."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ..judge import LEAST_DB, claimed_db, plain, signal_and_error, sqnr_db
from ..judge import opened as opened_engine
from .builder import Array
from .made import Made

# An engine this much below its own graph, or its report's claim, is wrong, unless it is still good. A claim is of few
# made-up inputs: one value beyond the calibration's takes 20 dB of a small graph.
BELOW_GRAPH_DB, STILL_GOOD_DB = 10.0, 30.0
BELOW_CLAIM_DB, STILL_FAIR_DB = 20.0, 20.0
# A file is no test of int8 where it has less than that itself with its inputs in 8 bits; nor of float where a
# millionth on its inputs leaves less than that.
LEAST_ROUNDED_DB, LEAST_MOVED_DB = 30.0, 70.0
BATCHES = 8
# What a report calls a reason for doubting its figures.
DOUBTS = (
    "uneven",
    "growing",
    "golden",
    "held out",
    "more samples",
    "low",
    "float32",
    "constant",
    "few",
    "decided",
    "larger",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """The worst output; `graph_db` is of the bundle's graph, `claimed_db` the least figure of the report."""

    sqnr_db: float
    graph_db: float
    output: str
    claimed_db: float
    warnings: tuple[str, ...]

    def verdict(self, precision: str) -> str:
        """`works`, `warned` or `wrong`."""
        strays = self.graph_db - self.sqnr_db > BELOW_GRAPH_DB and self.sqnr_db < STILL_GOOD_DB
        strays |= self.claimed_db - self.sqnr_db > BELOW_CLAIM_DB and self.sqnr_db < STILL_FAIR_DB
        if self.sqnr_db >= LEAST_DB[precision] and not strays:
            return "works"
        return "warned" if self.warnings else "wrong"


def unsteady(made: Made, precision: str) -> str:
    """Why no export of the file can be judged: "" where it can."""
    least = LEAST_ROUNDED_DB if precision == "int8" else LEAST_MOVED_DB
    for seed in range(BATCHES):
        feed = made.feed(seed, _samples(made))
        moved = {name: _in_8_bits(array) if precision == "int8" else _moved(array) for name, array in feed.items()}
        answer = made.answer(feed)
        for name, array in made.answer(moved).items():
            if (found := _db(answer[name], array)) < least:
                return f"{name} has {found:.0f} dB itself"
    return ""


def judged(made: Made, bundle: Path) -> Found:
    """Run held-out data in batches of another size than the export saw, where the batch is free."""
    manifest = json.loads((bundle / "manifest.json").read_text())
    report = json.loads((bundle / "report.json").read_text())
    names = [spec["name"] for spec in manifest["model"]["outputs"]]
    engine = opened_engine(bundle, names)
    feeds = [made.feed(1000 + i, _samples(made)) for i in range(BATCHES)]
    graph = plain(bundle / "model.onnx", names)
    wanted, got, own = ([run(feed) for feed in feeds] for run in (made.answer, engine, graph))
    if names != list(wanted[0]):
        told = f"{names}, expected {list(wanted[0])}"
        return Found(sqnr_db=-100, graph_db=0, output=told, claimed_db=0, warnings=())
    each = {name: _over_feeds([of[name] for of in wanted], [of[name] for of in got]) for name in names}
    worst = min(each, key=lambda name: each[name])
    claims = [
        float(of["sqnr_db"]) for of in report["parity"].get("engine", {}).values() if of.get("sqnr_db") is not None
    ]
    if (on_samples := claimed_db(report)) is not None:
        claims.append(on_samples)
    warnings = tuple(gap["why"] for gap in report["missing"] if gap["subject"].startswith(DOUBTS))
    of_graph = _over_feeds([of[worst] for of in wanted], [of[worst] for of in own])
    return Found(
        sqnr_db=each[worst], graph_db=of_graph, output=worst, claimed_db=min(claims, default=0.0), warnings=warnings
    )


def _samples(made: Made) -> int:
    return 5 if made.free else made.size


def _over_feeds(wanted: list[Array], got: list[Array]) -> float:
    if any(a.shape != b.shape for a, b in zip(wanted, got, strict=True)):
        return -100.0
    return _db(np.concatenate([a.ravel() for a in wanted]), np.concatenate([b.ravel() for b in got]))


def _db(wanted: Array, got: Array) -> float:
    """SQNR; of whole numbers how many agree: 90 % are 30 dB, as any less is no agreement."""
    if wanted.shape != got.shape:
        return -100.0
    if wanted.dtype.kind not in "fc":
        share = float(np.mean(wanted == got))
        return 100.0 if share > 0.99 else 35.0 if share > 0.9 else 12.0 if share > 0.7 else -100.0
    return sqnr_db(*signal_and_error(wanted, got))


def _in_8_bits(array: Array) -> Array:
    if array.dtype.kind != "f":
        return array
    wide = array.astype(np.float64)
    step = (wide.max() - wide.min()) / 255 or 1.0
    return (np.round((wide - wide.min()) / step) * step + wide.min()).astype(array.dtype)


def _moved(array: Array) -> Array:
    if array.dtype.kind != "f":
        return array
    return (array.astype(np.float64) * (1 + 2e-7)).astype(array.dtype)


def line(found: Found, precision: str) -> dict[str, Any]:
    """For a line of results."""
    return {
        "verdict": found.verdict(precision),
        "sqnr_db": round(found.sqnr_db, 1),
        "graph_db": round(found.graph_db, 1),
        "claimed_db": round(found.claimed_db, 1),
        "output": found.output,
        "warnings": list(found.warnings),
    }
