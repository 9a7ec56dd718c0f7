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

import numpy as np

from .findings import findings
from .judge import Judgement, flattened, judge
from .model import Feed, ZooModel, axes
from .operators import declare
from .zoo import models

# Seeds, and numbers of batches: what ranges come from, and what nothing has seen.
_WEIGHTS, _CALIBRATION, _HELD_OUT = 0, 1, 2
_BATCHES, _BATCH, _HELD_BATCHES, _HELD_BATCH = 16, 8, 16, 5
# Norms that scale by less let nothing of the input through a few layers: their biases are all that is left.
_SCALE_OF_NOTHING = 0.2
# What an export says of its own figures where other samples may have much less.
_DOUBTS = ("uneven", "held out", "low", "float32")


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
        for line in lines(models()[name], precision, targets):
            pipe.send({"model": name, "precision": precision, **line})
        pipe.send(None)


def _end_with(parent: int) -> None:
    """A parent that is killed closes the pipe, which nobody reads in the middle of a job."""
    while os.getppid() == parent:
        time.sleep(1)
    os._exit(1)


def lines(model: ZooModel, precision: str, targets: tuple[str, ...]) -> Iterator[dict[str, Any]]:
    """What came out for each target: one that fails does not end the others."""
    from edgepress.exporter import api

    try:
        module, inputs, calibration, held = _made(model)
        wanted = [flattened(_forward(module, feed)) for feed in held]
    except Exception as error:  # whatever a foreign model raises, edgepress was not asked yet
        for target in targets:
            yield {"target": target, "verdict": "no model", "message": _last(error), "seconds": 0.0}
        return
    left = list(targets)
    while left:
        began = time.monotonic()
        with tempfile.TemporaryDirectory(prefix="zoo-") as output:
            failures: dict[str | None, dict[str, Any]] = {}
            try:
                api.export_all(
                    module, inputs, targets=left, name="zoo", dynamic=axes(model), output=output, precision=precision,
                    calibration=None if precision == "fp32" else calibration, measure=False,
                )  # fmt: skip
            except Exception as error:  # what it is, is the question
                failures = _failures(error)
            each = {"seconds": round((time.monotonic() - began) / len(left), 1)}
            for target in tuple(left):
                bundle = Path(output) / f"zoo-{_full(target)}"
                if (bundle / "manifest.json").exists():
                    left.remove(target)
                    yield {"target": target, **each, **_judged(bundle, precision, held, wanted)}
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


def _judged(bundle: Path, precision: str, held: list[Feed], wanted: list[Any]) -> dict[str, Any]:
    import json

    try:
        found: Judgement = judge(bundle, precision, held, wanted)
    except Exception as error:  # a bundle that does not run is a result
        return {"verdict": "does not run", "message": _last(error)}
    report = json.loads((bundle / "report.json").read_text())
    weights = report["sizes"]["weights"], report["sizes"]["weights_fp32"]
    coverage = report.get("coverage") or {}
    warnings = [gap["why"] for gap in report["missing"] if gap["subject"].startswith(_DOUBTS)]
    verdict = found.verdict(precision)
    return {
        "verdict": "warned" if verdict == "wrong" and warnings else verdict, "warnings": warnings,
        **found.line(), "weights": weights[0], "weights_fp32": weights[1],
        "integer": coverage.get("integer"), "layers": coverage.get("total"), "lint": findings(bundle),
    }  # fmt: skip


def _made(model: ZooModel) -> tuple[Any, Feed, list[Feed], list[Feed]]:
    """The module with sane statistics, an example, calibration data, and held-out batches of another size."""
    import torch

    declare()
    torch.manual_seed(_WEIGHTS)
    module = model.build().eval()
    calibrating, held = (np.random.default_rng(seed) for seed in (_CALIBRATION, _HELD_OUT))
    calibration = [model.inputs(calibrating, _BATCH) for _ in range(_BATCHES)]
    if not model.trained:
        _trained(module)
        _settle(module, calibration[:4])
    example = model.inputs(np.random.default_rng(3), 2)
    tensors = {name: torch.from_numpy(array) for name, array in example.items()}
    return module, tensors, calibration, [model.inputs(held, _HELD_BATCH) for _ in range(_HELD_BATCHES)]


def _trained(module: Any) -> None:
    """What training would leave, roughly: scales of 1 or 0, alike everywhere, switch branches off or hide a mix-up.

    Norms of about 0 become about 1, and all that are alike get noise; weights of a tiny network that were drawn for a
    wide one are raised to a variance of 1/fan-in: nothing of the input would be left at the output. Depthwise kernels
    get a mean, so that a smooth picture passes: zero-mean noise takes it away, and the norms behind raise what rounding
    left (torch itself keeps 9 dB of a random MobileNetV2 where only its input is rounded to 8 bits, 25 dB so).
    """
    import torch

    with torch.no_grad():
        for norm in (m for m in module.modules() if isinstance(m, torch.nn.modules.batchnorm._BatchNorm)):
            if norm.weight is not None and bool((norm.weight.abs() < _SCALE_OF_NOTHING).all()):
                norm.weight += 1
        for kernel in (m.weight for m in module.modules() if isinstance(m, torch.nn.Conv2d) and m.groups > 1):
            if kernel.shape[1] == 1 and kernel[0].numel() > 1:
                kernel += kernel.std()
        for parameter in (p for p in module.parameters() if p.is_floating_point() and p.numel() > 1):
            least = (parameter.numel() / len(parameter)) ** -0.5 / 2
            if bool((parameter == parameter.ravel()[0]).all()):
                parameter += 0.1 * torch.randn_like(parameter)
            elif parameter.dim() > 1 and 0 < parameter.std() < least:
                parameter *= 2 * least / parameter.std()


def _settle(module: Any, feeds: list[Feed]) -> None:
    """Statistics of batch norms as training would leave them: random weights blow activations up without."""
    import torch

    norms = [m for m in module.modules() if isinstance(m, torch.nn.modules.batchnorm._BatchNorm)]
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None
        norm.train()
    for feed in feeds if norms else ():
        _forward(module, feed)
    module.eval()


def _forward(module: Any, feed: Feed) -> Any:
    import torch

    with torch.no_grad():
        return module(**{name: torch.from_numpy(array) for name, array in feed.items()})
