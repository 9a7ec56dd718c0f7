"""Which grid each matrix of a decoder gets: the least size that holds a loss, or the least loss within a size."""

from __future__ import annotations

import math
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

from ...errors import InputError
from ...profiles.device.grid import Grid
from ...profiles.device.precision import PrecisionName
from ...profiles.findings.report import megabytes
from ..candidates.judge import directory_bytes
from ..language.agreement import spread
from ..language.blank import BlankWeights
from ..language.options import options_of
from ..language.plan import GridOption, GridPlan, plans, within_bytes
from ..language.quantize import RoundedWeights
from ..language.sensitivity import Moments, apart, moments
from .grids import grids_of, shapes_of
from .products import fast_products
from .task import TextTask

# Texts by which it is judged what each matrix costs: those whose gradients are taken, and those that only go forward.
SENSED, SENSED_LENGTH = 8, 128
READ, READ_LENGTH = 8, 512
GridOptions = Mapping[str, Sequence[GridOption]]


def options_for(task: TextTask) -> GridOptions:
    """What each matrix takes and costs in each of the grids that the form has for it; nothing where it has none.

    Where it has none for a matrix, that stays in floats.
    """
    grids = [grid for name in task.precisions for grid in grids_of(name, task)]
    if not grids:
        return {}
    decoder, form = task.source.decoder, task.form
    with task.step("sensitivity"), fast_products():
        found = task.memo.once(f"moments {task.by_data}", task.source.digest, lambda: _moments(task))
        options = options_of(decoder, task.source.checkpoint, grids, found, form.matrix_bytes)
    floats, storable = form.floats(decoder), {}
    for name, (rows, columns) in shapes_of(task).items():
        kept = [one for one in options[name] if name not in floats and _divides(task, one.grid, columns)]
        stays = GridOption(grid=None, bytes=form.matrix_bytes(rows, columns, None), loss=0.0)
        storable[name] = kept or [stays]
    return storable


def plan_within_size(task: TextTask, options: GridOptions) -> GridPlan:
    """The plan of least loss whose engine is within the size that was asked for.

    Raises:
        InputError: there is none.
    """
    size, beside = task.recipe.budget.size, 0
    assert size is not None
    while (plan := within_bytes(options, size.bytes - beside)) is not None:
        found = _beside(task, plan)
        if plan.bytes + found <= size.bytes:
            return plan
        beside = found  # more than before: matrices that share no grid have products of their own
    smallest = next(plans(options))
    raise InputError(
        f"{task.source.name} takes {megabytes(smallest.bytes + _beside(task, smallest))} for {task.target.name} in its "
        f"smallest weights, graph and tokenizer included, and at most {size} was asked for.",
        hint="Allow more with --budget size=, or larger blocks with --block.",
    )


def precision_of(task: TextTask, grids: Mapping[str, Grid | None]) -> PrecisionName | None:
    """The first precision that a plan has a grid of; None where all is in floats."""
    used = set(grids.values())
    return next((name for name in task.precisions if used.intersection(grids_of(name, task))), None)


def allowed_nats(task: TextTask, before: float) -> float:
    """The rise of the perplexity that is asked for, in nats a token."""
    assert task.limit is not None
    return math.log1p(task.limit.bound(before) / before)


def _moments(task: TextTask) -> Moments:
    decoder, tokens = task.source.decoder, task.texts.calibration
    plain = RoundedWeights(decoder=decoder, checkpoint=task.source.checkpoint, grids={})
    found = moments(decoder, plain, spread(tokens, min(SENSED_LENGTH, decoder.context), SENSED))
    if task.by_data:
        found.apart = apart(decoder, plain, spread(tokens, min(READ_LENGTH, decoder.context, len(tokens)), READ))
    return found


def _divides(task: TextTask, grid: Grid | None, columns: int) -> bool:
    return not task.form.whole_blocks or grid is None or grid.block is None or columns % grid.block == 0


def _beside(task: TextTask, plan: GridPlan) -> int:
    """Bytes of an engine that are none of its matrices': one is written whose matrices are blank."""
    decoder, checkpoint = task.source.decoder, task.source.checkpoint
    with tempfile.TemporaryDirectory(dir=task.scratch) as directory:
        task.form.write(
            decoder,
            BlankWeights(decoder=decoder, checkpoint=checkpoint, grids=plan.grids),
            Path(directory),
            target=task.target,
            tokenizer=task.source.tokenizer,
            advance=lambda _: None,
        )
        return directory_bytes(Path(directory)) - plan.bytes
