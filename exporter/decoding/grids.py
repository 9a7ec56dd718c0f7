"""The grids that a runtime has of those that were asked for."""

from __future__ import annotations

from dataclasses import replace

from ...errors import InputError
from ...profiles.device.grid import Grid
from ...profiles.device.precision import PrecisionName, load_precision
from ..language.quantize import matrices
from .task import TextTask

# Blocks that are chosen among where none was asked for.
USUAL_BLOCKS = (32, 64, 128)


def usual_grid(precision: PrecisionName, task: TextTask) -> Grid | None:
    """The grid of a precision, as far as it was asked for; None of a float.

    Raises:
        InputError: the runtime has no kernel for it.
    """
    asked, usual = task.recipe.weights, load_precision(precision).decoder
    if usual is None:
        return None
    grid = grid_of(usual, asked.block or usual.block or USUAL_BLOCKS[0], symmetric=asked.symmetric is not False)
    grid = task.form.usual(grid) if asked.block is None else task.form.storable(grid)
    if why := task.form.why_no_grid(grid, task.target):
        raise InputError(
            f"Target {task.target.name} has no weights in {grid}: {why}.",
            hint="Choose another --precision or --block, or leave the choice to --precision auto.",
        )
    return grid


def grids_of(precision: PrecisionName, task: TextTask) -> list[Grid]:
    """The grids of a precision that are chosen among: those that were asked for, of those that the runtime has."""
    usual = load_precision(precision).decoder
    if usual is None:
        return []
    return [grid for grid in _asked(usual, task) if not task.form.why_no_grid(grid, task.target)]


def why_none(task: TextTask) -> str:
    """Why precisions of integers that would have been tried are not, a sentence; empty where all are."""
    clauses = {}
    for precision in task.precisions if task.chooses else ():
        usual = load_precision(precision).decoder
        if usual is not None and not grids_of(precision, task):
            grid = _asked(usual, task)[0]
            clauses[precision] = task.form.why_no_grid(grid, task.target)
    return "; ".join(f"{precision} was not tried, as {why}" for precision, why in clauses.items())


def _asked(usual: Grid, task: TextTask) -> list[Grid]:
    asked, form = task.recipe.weights, task.form
    symmetries = (True, False) if asked.symmetric is None else (asked.symmetric,)
    if asked.block is not None:
        return [form.storable(grid_of(usual, asked.block, symmetric=each)) for each in symmetries]
    grids = (form.usual(grid_of(usual, block, symmetric=each)) for block in USUAL_BLOCKS for each in symmetries)
    return list(dict.fromkeys(grids))


def grid_of(usual: Grid, block: int, *, symmetric: bool) -> Grid:
    """The usual grid of a precision in such blocks, with or without a zero point."""
    return replace(usual, block=block, signed=symmetric, symmetric=symmetric, whole=symmetric)


def shapes_of(task: TextTask) -> dict[str, tuple[int, int]]:
    """Rows and columns of each matrix by name."""
    decoder = task.source.decoder
    shapes = {each.name: (each.outputs, each.inputs) for each in decoder.linears()}
    return {name: shapes.get(name, (decoder.vocabulary, decoder.width)) for name in matrices(decoder)}
