"""One process of the zoo: it builds a model, exports it, judges the bundles, and says what came out."""

from __future__ import annotations

import os
import sys
import tempfile
import threading
import time
import traceback
from collections.abc import Iterator
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from .findings import findings
from .judge import Judgement, claimed_db, judge
from .model import ZooModel, axes
from .weights import Weighted, weighted
from .zoo import named

# What an export says of its own figures where other samples may have much less.
_DOUBTS = ("uneven", "growing", "golden", "held out", "more samples", "low", "float32", "decided")


def serve(pipe: Connection, log: str, parent: int) -> None:
    """Answer jobs `(model, precision, targets)` with a line a target, then None, until the pipe is closed.

    `parent` is the process that asks, told by itself: it may be gone before this one can ask for its number.
    """
    threading.Thread(target=_end_with, args=(parent,), daemon=True).start()
    with open(log, "a") as file:
        os.dup2(file.fileno(), sys.stdout.fileno())
        os.dup2(file.fileno(), sys.stderr.fileno())
    while True:
        try:
            name, precision, targets = pipe.recv()
        except EOFError:
            return
        for line in lines(named(name), precision, targets):
            pipe.send({"model": name, "precision": precision, **line})
        pipe.send(None)


def _end_with(parent: int) -> None:
    """A parent that is killed closes the pipe, which nobody reads in the middle of a job."""
    while os.getppid() == parent:
        time.sleep(1)
    os._exit(1)


def lines(model: ZooModel, precision: str, targets: tuple[str, ...]) -> Iterator[dict[str, Any]]:
    """What came out for each target: one that fails does not end the others."""
    from edgepress.backends.base import AxisRange
    from edgepress.exporter import api

    sizes = {axis: AxisRange.parse(of) for axis, of in model.sizes.items()} or None
    try:
        made = weighted(model)
    except Exception as error:  # whatever a foreign model raises, edgepress was not asked yet
        for target in targets:
            yield {"target": target, "verdict": "no model", "message": _last(error), "seconds": 0.0}
        return
    if model.by_chance and (why := made.no_test()):
        for target in targets:
            yield {"target": target, "verdict": "no test", "message": why, "seconds": 0.0, **made.line()}
        return
    left = list(targets)
    while left:
        began = time.monotonic()
        with tempfile.TemporaryDirectory(prefix="zoo-") as output:
            failures: dict[str | None, dict[str, Any]] = {}
            try:
                api.export_all(
                    made.module, made.example, targets=left, name="zoo", dynamic=axes(model), axes=sizes, output=output,
                    precision=precision, calibration=None if precision == "fp32" else made.calibration, measure=False,
                )  # fmt: skip
            except Exception as error:  # what it is, is the question
                failures = _failures(error)
            each = {"seconds": round((time.monotonic() - began) / len(left), 1), **made.line()}
            for target in tuple(left):
                bundle = Path(output) / f"zoo-{_full(target)}"
                if (bundle / "manifest.json").exists():
                    left.remove(target)
                    yield {"target": target, **each, **_judged(bundle, precision, made, model.by_chance)}
                elif failure := failures.get(_full(target), failures.get(None)):
                    left.remove(target)
                    yield {"target": target, **each, **failure}


def _full(target: str) -> str:
    from edgepress.profiles.device.target import load_target

    return load_target(target).name


def _failures(error: Exception) -> dict[str | None, dict[str, Any]]:
    """By target, or for all of them: a refusal with its reason, or a traceback."""
    from edgepress.errors import EdgepressError, TargetsError

    if isinstance(error, TargetsError):
        return {target: _refusal(each) for target, each in error.errors.items()}
    at = getattr(error, "target", None)
    if isinstance(error, EdgepressError):
        return {at: _refusal(error)}
    return {at: {"verdict": "traceback", "message": _last(error), "traceback": traceback.format_exc()[-4000:]}}


def _refusal(error: Any) -> dict[str, Any]:
    return {"verdict": "refused", "code": error.exit_code, "message": error.message, "hint": error.hint}


def _last(error: Exception) -> str:
    return f"{type(error).__name__}: {error}"[:600]


def _judged(bundle: Path, precision: str, made: Weighted, strictly: bool) -> dict[str, Any]:
    import json

    try:
        found: Judgement = judge(bundle, precision, made.held, made.answers)
    except Exception as error:  # a bundle that does not run is a result
        return {"verdict": "does not run", "message": _last(error)}
    report = json.loads((bundle / "report.json").read_text())
    weights = report["sizes"]["weights"], report["sizes"]["weights_fp32"]
    coverage = report.get("coverage") or {}
    warnings = [gap["why"] for gap in report["missing"] if gap["subject"].startswith(_DOUBTS)]
    claimed = claimed_db(report)
    verdict = "wrong" if strictly and found.overstated(claimed, precision) else found.verdict(precision)
    return {
        "verdict": "warned" if verdict == "wrong" and warnings else verdict, "warnings": warnings,
        **found.line(), "claimed_db": claimed, "weights": weights[0], "weights_fp32": weights[1],
        "integer": coverage.get("integer"), "layers": coverage.get("total"), "lint": findings(bundle),
    }  # fmt: skip
