"""Which roundings of a decoder's weights are tried, the smallest first."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np

from ...errors import InputError
from ...profiles.device.grid import Grid
from ...profiles.device.precision import PrecisionName, load_precision
from ...profiles.findings.language import Bits, LayerBits, Method
from ..language.compensating import Compared, round_with_texts
from ..language.quantize import RoundedWeights, uniform
from ..language.tokens import digest_of
from ..language.weights import Weights
from .candidate import Rounded
from .judging import LENGTH, windows_of
from .task import TextTask

TEXTS = 64  # of LENGTH tokens each, that are calibrated on


@dataclass(frozen=True, slots=True, kw_only=True)
class Rounding:
    """Weights as they are to be written."""

    title: str
    precision: PrecisionName
    weights: Weights
    rounded: Rounded


def roundings(task: TextTask) -> Iterator[Rounding]:
    """What is tried, the fewest bits first."""
    decoder, checkpoint = task.source.decoder, task.source.checkpoint
    for precision in task.precisions:
        grid = grid_of(precision, task)
        weights = RoundedWeights(decoder=decoder, checkpoint=checkpoint, grids=uniform(decoder, grid))
        title = precision if grid is None else str(grid)
        rounded = _rounded(task, grid)
        if grid is not None and task.recipe.weights.rounding == "data":
            rounded = _with_texts(task, weights, rounded)
        yield Rounding(title=title, precision=precision, weights=weights, rounded=rounded)


def _with_texts(task: TextTask, weights: RoundedWeights, rounded: Rounded) -> Rounded:
    """Round what the plan says by what calibration texts make of it."""
    texts = windows_of(task.texts.calibration, TEXTS, min(LENGTH, task.source.decoder.context))
    with task.step("rounding") as advance:
        found = round_with_texts(weights.decoder, weights, texts, advance=lambda share: advance(share, ""))
    method = _compensation(list(found.values()))
    said = f"{texts.size:,} tokens of {task.texts.said}."
    return replace(rounded, tried=(method,), calibration=said, text_digest=digest_of(texts))


def _compensation(found: Sequence[Compared]) -> Method:
    """What making errors good gained."""
    kept = sum(each.kept for each in found)
    return Method(
        name="error compensation",
        kept=kept > 0,
        why=f"it loses less in {kept} of {len(found)} matrices on texts kept apart",
        measure="squared error of what a matrix gives, in shares of its square, mean over matrices",
        before=float(np.mean([each.nearest for each in found])),
        after=float(np.mean([min(each.nearest, each.compensated) for each in found])),
    )


def grid_of(precision: PrecisionName, task: TextTask) -> Grid | None:
    """The grid of a precision, as far as it was asked for; None of a float.

    Raises:
        InputError: the runtime has no kernel for it.
    """
    asked, usual = task.recipe.weights, load_precision("int4").weights
    if usual is None or not load_precision(precision).integer:
        return None
    symmetric = asked.symmetric is not False
    grid = replace(
        usual,
        bits=4 if precision == "int4" else 8,
        block=asked.block or usual.block,
        signed=symmetric,
        symmetric=symmetric,
        whole=symmetric,
    )
    if why := task.form.why_no_grid(grid, task.target):
        raise InputError(f"Target {task.target.name} has no weights in {grid}: {why}.", hint="Choose another --block.")
    return grid


def _rounded(task: TextTask, grid: Grid | None) -> Rounded:
    decoder = task.source.decoder
    layers = [_bits(task, each.name, each.outputs, each.inputs, grid) for each in decoder.linears()]
    if not decoder.tied:
        layers.insert(0, _bits(task, "embedding", decoder.vocabulary, decoder.width, grid))
    return Rounded(digest="", bits=Bits(layers=tuple(layers), how="One grid was asked for."))


def _bits(task: TextTask, name: str, rows: int, columns: int, grid: Grid | None) -> LayerBits:
    return LayerBits(
        layer=name,
        grid="float32" if grid is None else str(grid),
        weights=rows * columns,
        bytes=task.form.matrix_bytes(rows, columns, grid),
    )
