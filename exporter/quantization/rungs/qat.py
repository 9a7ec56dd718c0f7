"""Quantization-aware training, from the ranges and the placement that are there."""

from __future__ import annotations

import tempfile
from pathlib import Path

from ....errors import VerificationError
from ....profiles.findings.parity import Parity, worst
from ....profiles.machine import processes
from ...sources import Source
from ..mixed_int8 import MixedPrecision, Version
from .rung import Attempt, Climbed, Cost, Rung

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
        mixed.quantizer(Version()), mixed.judged, attempt.source, mixed.recipe, attempt.advance, attempt.checkpoint
    )
    if processes.rank() > 0:
        raise SystemExit(0)  # the first of several processes goes on
    version = Version(fitted=found.fitted)
    trained = _held(mixed, version, attempt, found.module)
    epochs = len(found.run.history)
    said = f"{epochs} epoch{'s' * (epochs != 1)}, the weights of {found.run.best or 'the start'} kept"
    if found.run.broken:
        said = f"{said}; {found.run.stopped}"
    return Climbed(version=version, said=said, training=found.run, trained=trained)


def _held(mixed: MixedPrecision, version: Version, attempt: Attempt, module: object) -> dict[str, Parity]:
    from ...sources import torch_predict
    from ..aware.learned import as_source

    predict = torch_predict(as_source(attempt.source, module))  # type: ignore[arg-type]
    with tempfile.TemporaryDirectory(dir=mixed.scratch) as directory:
        graph, _ = mixed.write(version, Path(directory) / "model.onnx")
        found = mixed.against([predict(feed) for feed in mixed.samples.feeds], graph)
    if (least := worst(found).weakest_db) < LEAST_DB:
        raise VerificationError(
            f"The graph of integers is {least:.1f} dB from the one that was trained; {LEAST_DB:g} dB are asked.",
            hint="Report this as a fault of edgepress.",
        )
    return found


RUNG = Rung(title="quantization-aware training", cost=Cost.TRAINING, why_not=why_not, climb=climb)
