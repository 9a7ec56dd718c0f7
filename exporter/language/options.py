"""The grids that each matrix may have, with what each takes and is expected to lose."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial

from ...profiles.device.grid import Grid
from .compensation import SWEPT, sweeps_of
from .decoder import Decoder, Linear
from .plan import GridOption
from .quantize import TABLE
from .rounding import finite
from .sensitivity import TABLE_INPUT, Moments, Squares, expected_loss
from .weights import Floats, TensorSource

# Where an error of a matrix goes: (outputs, inputs), as `expected_loss` takes them.
_Use = tuple[Squares, Squares]


def options_of(
    decoder: Decoder,
    checkpoint: TensorSource,
    grids: Sequence[Grid | None],
    found: Moments,
    bytes_of: Callable[[int, int, Grid | None], int],
    *,
    advance: Callable[[float], None] = lambda _: None,
) -> dict[str, list[GridOption]]:
    """Options of every matrix by its name, as `plan` takes them.

    Args:
        grids: to choose among; None is to stay in floats.
        found: squares over some texts, from `sensitivity.moments`; with `apart`, errors will be compensated.
        bytes_of: what a matrix of so many rows and columns takes on disk.
        advance: told the share that is done.

    Raises:
        InputError: a weight is not finite.
    """
    options: dict[str, list[GridOption]] = {}
    linears = list(decoder.linears())
    for done, linear in enumerate(linears, start=1):
        weight = finite(checkpoint.array(linear.weight), linear.weight.name).numpy()
        uses = partial(_uses, linear, found, tied=decoder.tied and linear == decoder.head)
        options[linear.name] = [_option(weight, grid, bytes_of, uses) for grid in grids]
        advance(done / len(linears))
    if not decoder.tied:
        weight = finite(checkpoint.array(decoder.embedding), TABLE).numpy()
        options[TABLE] = [_option(weight, grid, bytes_of, lambda _: [_as_table(found)]) for grid in grids]
    return options


def _option(
    weight: Floats,
    grid: Grid | None,
    bytes_of: Callable[[int, int, Grid | None], int],
    uses: Callable[[Grid], Iterable[_Use]],
) -> GridOption:
    rows, columns = weight.shape
    loss = 0.0 if grid is None else sum(expected_loss(weight, grid, *use) for use in uses(grid))
    return GridOption(grid=grid, bytes=bytes_of(rows, columns, grid), loss=loss)


def _uses(linear: Linear, found: Moments, grid: Grid, *, tied: bool) -> Iterator[_Use]:
    """As a product, and as the embedding where it is the head's matrix, too."""
    outputs, inputs = found.outputs[linear.name] / found.tokens, found.inputs[linear.name] / found.tokens
    if linear.reads in found.apart:
        inputs = found.apart[linear.reads] * (SWEPT if sweeps_of(grid) else 1.0)
    yield outputs, inputs
    if tied:
        yield _as_table(found)


def _as_table(found: Moments) -> _Use:
    """Rows that were read, and the gradient by what they hold."""
    assert found.rows is not None
    return found.rows / found.tokens, found.outputs[TABLE_INPUT] / found.tokens
