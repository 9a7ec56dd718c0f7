"""Which roundings of a decoder's weights are tried, one after the other, until one holds what is asked."""

from __future__ import annotations

import math
from collections.abc import Generator, Mapping
from dataclasses import dataclass, replace

from ...profiles.device.grid import Grid
from ...profiles.device.precision import PrecisionName
from ...profiles.findings.language import Bits, LayerBits, TextParity
from ..language.plan import GridPlan, least_loss, within_loss
from ..language.quantize import RoundedWeights, uniform
from .by_texts import by_texts
from .candidate import Rounded
from .grids import shapes_of, usual_grid
from .planning import GridOptions, allowed_nats, options_for, plan_within_size, precision_of
from .task import TextTask

# Plans that are tried: what a plan loses is expected, and measured afterwards.
ATTEMPTS = 2
# Of what a plan may be expected to lose the next one may, where it lost too much: losses of matrices add up roughly.
CAUTION = 0.8
Grids = Mapping[str, Grid | None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Rounding:
    """Weights as they are to be written."""

    title: str
    precision: PrecisionName
    weights: RoundedWeights
    rounded: Rounded


def roundings(task: TextTask) -> Generator[Rounding, TextParity, None]:
    """What is tried, the smallest first; each time what the one before lost is sent.

    Raises:
        InputError: the runtime has no kernel for the grid that was asked for, or nothing is as small as was asked.
    """
    if not task.chooses:
        (precision,) = task.precisions
        grids = _without_floats(task, uniform(task.source.decoder, usual_grid(precision, task)))
        yield _rounding(task, precision, grids, "One grid was asked for.")
        return
    options = options_for(task)
    if task.limit is None and options:
        how = "What is expected to lose least within the size that was asked for, of what each matrix costs."
        yield _planned(task, plan_within_size(task, options), how)
        return
    yield from _within_loss(task, options)
    plain = uniform(task.source.decoder, None)
    yield _rounding(task, task.precisions[-1], plain, "Nothing smaller holds what was asked.")


def _within_loss(task: TextTask, options: GridOptions) -> Generator[Rounding, TextParity, None]:
    """Plans of least size that are expected to hold the limit, the second by what the first lost; then the finest."""
    if not any(one.grid for each in options.values() for one in each):
        return
    judge, _ = task.judges
    budget, finest = allowed_nats(task, judge.before), least_loss(options)
    for _ in range(ATTEMPTS):
        plan = within_loss(options, budget)
        if plan is None or plan == finest:
            break
        how = f"The smallest that was expected to lose at most {budget:.3f} nats a token, of what each matrix costs."
        parity = yield _planned(task, plan, how)
        lost = math.log(parity.after / parity.before)
        budget = CAUTION * min(1.0, allowed_nats(task, parity.before) / max(lost, 1e-9)) * min(budget, plan.loss)
    yield _planned(task, finest, "The grids that lose least, as nothing smaller was to hold what was asked.")


def _planned(task: TextTask, plan: GridPlan, how: str) -> Rounding:
    return _rounding(task, precision_of(task, plan.grids) or task.precisions[-1], plan.grids, how)


def _without_floats(task: TextTask, grids: Grids) -> Grids:
    floats = task.form.floats(task.source.decoder)
    return {name: None if name in floats else grid for name, grid in grids.items()}


def _rounding(task: TextTask, precision: PrecisionName, grids: Grids, how: str) -> Rounding:
    weights = RoundedWeights(decoder=task.source.decoder, checkpoint=task.source.checkpoint, grids=grids)
    rounded = Rounded(digest="", bits=Bits(layers=tuple(_bits(task, grids)), how=how))
    if task.by_data and any(grids.values()):
        found = by_texts(task, grids)
        weights = found.weights
        rounded = replace(rounded, tried=(found.method,), calibration=found.said, text_digest=found.digest)
    used = {grid for grid in grids.values() if grid is not None}
    title = str(next(iter(used))) if len(used) == 1 else precision
    return Rounding(title=title, precision=precision, weights=weights, rounded=rounded)


def _bits(task: TextTask, grids: Grids) -> Generator[LayerBits, None, None]:
    """How each matrix will be stored."""
    for name, (rows, columns) in shapes_of(task).items():
        grid = grids.get(name)
        stored = task.form.matrix_bytes(rows, columns, grid)
        yield LayerBits(layer=name, grid=str(grid or "float32"), weights=rows * columns, bytes=stored)
