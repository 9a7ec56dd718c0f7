"""Quantization-aware training, from the ranges and the placement that are there."""

from __future__ import annotations

import tempfile
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from ....calibration.statistics import Examples
from ....errors import VerificationError
from ....profiles.findings.parity import Parity, worst
from ....profiles.machine import processes
from ...graphs.files import read_graph
from ...sources import Source
from ..mixed_int8 import IntegerVersion
from .rung import Attempt, Climbed, Cost, Rung

if TYPE_CHECKING:
    from torch import nn

# The graph of integers against the graph that was trained, in dB of SQNR. They round the same values in the same
# places, and differ where a sum lies within its last bit of the middle between two integers: 55 to 135 dB were seen.
# A bias that was not rounded gave 28.
LEAST_DB = 30.0


def why_not(attempt: Attempt) -> str:
    """What is missing."""
    source, recipe = attempt.source, attempt.mixed.recipe
    if source.module is None or source.program is not None:
        return "only a model of a Python file can be trained"
    if _postprocesses(source):
        return "loss() takes what the network gives before postprocess(), which is inside the graph"
    if source.training is None:
        return "the model file has no training()"
    if not recipe.training.epochs:
        return "0 epochs were asked for"
    if processes.count() > 1 and not recipe.qat:
        return "several processes train where --qat asks for it"
    return ""


def _postprocesses(source: Source) -> bool:
    from ...sources.pipeline import Pipeline

    return isinstance(source.module, Pipeline) and source.module.postprocess is not None


def climb(attempt: Attempt) -> Climbed:
    """Train, and hold the graph that comes of it against what was trained.

    Raises:
        VerificationError: they differ.
    """
    from ..aware.learned import learned

    mixed = attempt.mixed
    attempt.advance(None, "quantization-aware training")
    found = learned(
        mixed.quantizer(IntegerVersion()),
        mixed.judged,
        attempt.source,
        mixed.recipe,
        attempt.advance,
        attempt.checkpoint,
        check=lambda module: _need_alike(attempt, IntegerVersion(), module, "torch computes the graph otherwise"),
    )
    if processes.rank() > 0:
        raise SystemExit(0)  # the first of several processes goes on
    version = IntegerVersion(fitted=found.fitted)
    trained = _need_alike(attempt, version, found.module, "the graph of integers gives other values than were trained")
    epochs = len(found.run.history)
    said = f"{epochs} epoch{'s' * (epochs != 1)}, the weights of {found.run.best or 'the start'} kept"
    if found.run.broken:
        said = f"{said}; {found.run.stopped}"
    return Climbed(version=version, said=said, training=found.run, trained=trained)


def _need_alike(attempt: Attempt, version: IntegerVersion, module: nn.Module, what: str) -> dict[str, Parity]:
    """How near a graph of integers is to one in torch, on the samples.

    Args:
        what: is the matter where it is not near.

    Raises:
        VerificationError: it is not.
    """
    from ...sources import torch_predict
    from ..aware.learned import as_source

    mixed, predict = attempt.mixed, torch_predict(as_source(attempt.source, module))
    # Biases are learned: nothing is taken into them on samples.
    seen = replace(mixed.judged, examples=Examples())
    with tempfile.TemporaryDirectory(dir=mixed.scratch) as directory:
        path = Path(directory) / "model.onnx"
        mixed.quantizer(version).write(seen, path)
        graph = read_graph(path, mixed.reference.axes)
        found = mixed.against([predict(feed) for feed in mixed.samples.feeds], graph)
    if (least := worst(found).weakest_db) < LEAST_DB:
        raise VerificationError(
            f"{what}: {least:.1f} dB of SQNR, {LEAST_DB:g} dB are asked.", hint="Report this as a fault of edgepress."
        )
    return found


RUNG = Rung(title="quantization-aware training", cost=Cost.TRAINING, why_not=why_not, climb=climb)
