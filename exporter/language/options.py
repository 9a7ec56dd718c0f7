"""The grids that each matrix may have, with what each takes and is expected to lose."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

from ...profiles.device.grid import Grid
from .decoder import Decoder, Linear
from .plan import GridOption
from .quantize import TABLE
from .rounding import round_matrix
from .sensitivity import Moments, expected_loss, expected_loss_of_table
from .weights import Floats, TensorSource

# What compensated rounding leaves of the loss of rounding to the nearest, about, at 4 bits: of SmolLM2-135M 0.27 to
# 0.30 of the rise in nats, in symmetric blocks of 32. At 8 bits neither loses anything that counts.
COMPENSATED = 0.3


def options_of(
    decoder: Decoder,
    checkpoint: TensorSource,
    grids: Sequence[Grid | None],
    found: Moments,
    bytes_of: Callable[[int, int, Grid | None], int],
    *,
    left: float = 1.0,
    advance: Callable[[float], None] = lambda _: None,
) -> dict[str, list[GridOption]]:
    """Options of every matrix by its name, as `plan` takes them.

    Args:
        grids: to choose among; None is to stay in floats.
        found: squares over some texts, from `sensitivity.moments`.
        bytes_of: what a matrix of so many rows and columns takes on disk.
        left: what the way of rounding leaves of the loss of rounding to the nearest; COMPENSATED, or 1.
        advance: told the share that is done.

    Raises:
        InputError: a weight is not finite.
    """
    options: dict[str, list[GridOption]] = {}
    linears = list(decoder.linears())
    for done, linear in enumerate(linears, start=1):
        weight = checkpoint.array(linear.weight)
        loss = partial(_loss, linear, weight, found, left, tied=decoder.tied and linear == decoder.head)
        options[linear.name] = _options(weight, grids, bytes_of, loss)
        advance(done / len(linears))
    if not decoder.tied:
        weight = checkpoint.array(decoder.embedding)
        options[TABLE] = _options(weight, grids, bytes_of, partial(_loss_of_table, weight, found))
    return options


def _loss(linear: Linear, weight: Floats, found: Moments, left: float, grid: Grid, *, tied: bool) -> float:
    importance = found.inputs[linear.name]
    rounded = round_matrix(weight, grid, importance=importance, name=linear.weight.name).floats()
    table = expected_loss_of_table(weight, rounded, found) if tied else 0.0
    return left * expected_loss(linear, weight, rounded, found) + table


def _loss_of_table(weight: Floats, found: Moments, grid: Grid) -> float:
    return expected_loss_of_table(weight, round_matrix(weight, grid, name=TABLE).floats(), found)


def _options(
    weight: Floats,
    grids: Sequence[Grid | None],
    bytes_of: Callable[[int, int, Grid | None], int],
    loss: Callable[[Grid], float],
) -> list[GridOption]:
    rows, columns = weight.shape
    return [
        GridOption(grid=grid, bytes=bytes_of(rows, columns, grid), loss=0.0 if grid is None else loss(grid))
        for grid in grids
    ]
