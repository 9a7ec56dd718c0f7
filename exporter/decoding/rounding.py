"""Which roundings of a decoder's weights are tried, the smallest first."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

from ...errors import InputError
from ...profiles.device.grid import Grid
from ...profiles.device.precision import PrecisionName, load_precision
from ...profiles.findings.language import Bits, LayerBits
from ..language.quantize import RoundedWeights, uniform
from ..language.weights import Floats, Integers, Matrix, Weights
from .candidate import Rounded
from .task import TextTask


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
        yield Rounding(title=title, precision=precision, weights=weights, rounded=_rounded(task, grid))


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


def floats(matrix: Matrix) -> Floats:
    """What a matrix stands for."""
    return matrix.floats() if isinstance(matrix, Integers) else matrix
