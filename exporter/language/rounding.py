"""Matrices in integers, without data or with the mean square of each input.

A block w loses sum(importance * (w - (code - zero) * scale)^2). For given codes the best scale and zero are a closed
form. At few bits that clips and shrinks large weights, which do most of the work, and writes worse text than no search
at all (perplexity of SmolLM2-135M, symmetric blocks of 32: 21.5 against 20.5). There the best of a few scales is taken
that about hold the block, and the importance of a weight grows with its square: 19.5.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import torch

from ...errors import InputError
from ...profiles.device.grid import Grid
from .in_parts import in_parts
from .scales import short
from .weights import Floats, Integers

# Shares of the scale that just holds a block; with a longer one other weights may meet the grid better.
EVEN = (0.92, 0.84, 0.76)  # of the least error of all weights alike, where compensation follows
SHARES = (1.0, 0.95, 1.04, 1.08, 1.12, 1.16, 1.2)
TINY = 1e-30  # a block of no larger weight is one of zeros

# Scale and zero of each block, of shape (rows, blocks), in float32; a zero is a code.
ScaleZero = tuple[torch.Tensor, torch.Tensor]


def round_matrix(
    weight: Floats, grid: Grid, *, importance: npt.NDArray[np.floating] | None = None, name: str = "the matrix"
) -> Integers:
    """The matrix in integers of the grid, with the scales of least squared error.

    Args:
        weight: of shape (outputs, inputs).
        importance: of each input, its mean square over calibration; without it all count alike.
        name: what an error calls the matrix.

    Raises:
        InputError: a weight is not finite.
    """
    rows, columns = weight.shape
    block = min(grid.block or columns, columns)
    counted = torch.ones(1, columns) if importance is None else importances(importance)
    counted = in_blocks(counted, block)
    codes, blocks = np.empty((rows, columns), np.uint8), counted.shape[1]
    scales, zeros = np.empty((rows, blocks), np.float32), np.empty((rows, blocks), np.uint8)

    def fill(part: slice) -> None:
        values = in_blocks(finite(weight[part], name), block)
        scale, zero = fit(values, counted, grid)
        affine = short(scale, used(values), up=holds(grid)), zero
        codes[part] = nearest(values, affine, grid).flatten(1)[:, :columns].to(torch.uint8).numpy()
        scales[part], zeros[part] = affine[0].numpy(), affine[1].to(torch.uint8).numpy()

    in_parts(rows, columns, fill)
    return Integers(grid=grid, codes=codes, scales=scales, zeros=None if grid.symmetric else zeros)


def steps(weight: Floats, grid: Grid) -> Floats:
    """How far apart the values of a grid lie that just holds each block, of shape (rows, blocks).

    Args:
        weight: of shape (rows, columns).
    """
    values = in_blocks(torch.from_numpy(weight), min(grid.block or weight.shape[1], weight.shape[1]))
    low, high = values.amin(-1).clamp_max_(0), values.amax(-1).clamp_min_(0)
    held = (high > low).float()  # a block of zeros loses nothing
    return np.asarray((_holding(low, high, grid)[0] * held).numpy())


def finite(weight: Floats, name: str) -> torch.Tensor:
    """The weight as a tensor.

    Raises:
        InputError: a weight is not finite.
    """
    values = torch.from_numpy(np.ascontiguousarray(weight, dtype=np.float32))
    if not all(torch.isfinite(end) for end in values.aminmax()):  # what is no number comes through
        raise InputError(
            f"{name} has weights that are no finite numbers.", hint="Give a checkpoint whose training did not diverge."
        )
    return values


def importances(mean_squares: npt.NDArray[np.floating]) -> torch.Tensor:
    """Importances of shape (1, inputs), 1 in the mean, none quite 0: what calibration never moved, data may."""
    values = torch.from_numpy(np.asarray(mean_squares, dtype=np.float32)).reshape(1, -1)
    mean = values.mean()
    return values / mean + 1e-4 if mean > 0 else torch.ones_like(values)


def in_blocks(values: torch.Tensor, block: int) -> torch.Tensor:
    """(rows, columns) as (rows, blocks, block), the last block filled up with zeros."""
    rows, columns = values.shape
    if missing := -columns % block:
        values = torch.nn.functional.pad(values, (0, missing))
    return values.view(rows, -1, block)


def used(blocks: torch.Tensor) -> torch.Tensor:
    """Which blocks, of shape (rows, blocks, block), have a weight that counts; of shape (rows, blocks)."""
    return torch.maximum(-blocks.amin(-1), blocks.amax(-1)) > TINY


def holds(grid: Grid) -> bool:
    """Whether a scale must not be less than what holds its block: half a step of 8 bits is 1/254 of the largest."""
    return grid.bits >= 8


def limits(grid: Grid) -> tuple[int, int]:
    """The smallest and the largest code; a grid with a sign has its 0 at 2**(bits-1)."""
    return middle(grid) + grid.smallest, middle(grid) + grid.largest


def middle(grid: Grid) -> int:
    """The code of 0 where the grid is symmetric."""
    return 1 << (grid.bits - 1) if grid.signed else 0


def fit(values: torch.Tensor, importance: torch.Tensor, grid: Grid, *, even: bool = False) -> ScaleZero:
    """Scale and zero of each block.

    Args:
        values: of shape (rows, blocks, block).
        even: large weights count no more than others.
        importance: of shape (1, blocks, block); 0 where a block is filled up, or any where its values are 0.
    """
    few = grid.bits < 8
    if not even:
        squares = values.square()
        importance = squares.add_(squares.mean(-1, keepdim=True)).mul_(importance)
    low, high = values.amin(-1).clamp_max_(0), values.amax(-1).clamp_min_(0)
    best, room = _holding(low, high, grid), torch.empty_like(values)
    least = lost(values, best, importance, grid, room)
    for share in (EVEN if even else SHARES[1:]) if few else ():
        other = _holding(low * share, high * share, grid)
        _take_lesser(best, least, other, lost(values, other, importance, grid, room))
    for _ in range(2 if even else int(not few)):
        other = refit(values, best, importance, grid)
        _take_lesser(best, least, other, lost(values, other, importance, grid, room))
    return best


def nearest(values: torch.Tensor, affine: ScaleZero, grid: Grid) -> torch.Tensor:
    """The nearest codes, as floats, of the shape of the values."""
    return _steps(values, affine, grid).add_(affine[1].unsqueeze(-1))


def _steps(values: torch.Tensor, affine: ScaleZero, grid: Grid, room: torch.Tensor | None = None) -> torch.Tensor:
    """How many scales the nearest codes are from their zero, as floats, of the shape of the values.

    Args:
        room: of that shape, where they are put: memory that is fresh each time costs as much as the arithmetic.
    """
    scale, zero = affine
    first, last = limits(grid)
    steps = torch.mul(values, (1 / scale).unsqueeze(-1), out=room)
    if grid.symmetric:
        return steps.round_().clamp_(first - middle(grid), last - middle(grid))
    return steps.add_(zero.unsqueeze(-1)).round_().clamp_(first, last).sub_(zero.unsqueeze(-1))


def lost(
    values: torch.Tensor,
    affine: ScaleZero,
    importance: torch.Tensor,
    grid: Grid,
    room: torch.Tensor | None = None,
) -> torch.Tensor:
    """The weighted squared error of each block, of shape (rows, blocks); `room` as of `_steps`."""
    error = _steps(values, affine, grid, room).mul_(affine[0].unsqueeze(-1)).sub_(values)
    return error.square_().mul_(importance).sum(-1)


def refit(values: torch.Tensor, affine: ScaleZero, importance: torch.Tensor, grid: Grid) -> ScaleZero:
    """The scale and, where the grid has one, the zero that lose least with the nearest codes as they are."""
    scale, zero = affine
    codes = nearest(values, affine, grid)
    if not grid.symmetric:
        zero = _met_zero(values, codes, importance, zero, grid)
    steps = codes.sub_(zero.unsqueeze(-1))
    weighted = steps * importance
    better = (weighted * values).sum(-1) / weighted.mul_(steps).sum(-1)
    return better.where(better.abs() > TINY, scale), zero  # one that is no number, where all steps are 0, is not larger


def _met_zero(
    values: torch.Tensor, codes: torch.Tensor, importance: torch.Tensor, zero: torch.Tensor, grid: Grid
) -> torch.Tensor:
    """The code at which the line of least squares through codes and values meets the value 0."""
    total = importance.sum(-1).clamp_min(TINY)
    weighted = codes * importance
    code, value = weighted.sum(-1) / total, (values * importance).sum(-1) / total
    together, alone = (weighted * values).sum(-1) / total - code * value, weighted.mul_(codes).sum(-1) / total - code**2
    met = (code - value * alone / together).round_().clamp_(*limits(grid))
    return met.where(torch.isfinite(met), zero)


def _holding(low: torch.Tensor, high: torch.Tensor, grid: Grid) -> ScaleZero:
    """The scale at which the integers reach from `low`, at most 0, to `high`, at least 0.

    A symmetric grid that has one step more below 0 gives that to the longer side, with a negative scale where it is the
    upper one.
    """
    first, last = limits(grid)
    if not grid.symmetric:
        scale = _of_some_size((high - low) / (last - first))
        return scale, (first - low / scale).round_().clamp_(first, last)
    zero = middle(grid)
    below, above = zero - first, last - zero
    longer = torch.where(-low > high, -low, -high)
    scale = longer / below if below > above else torch.maximum(-low, high) / above
    return _of_some_size(scale), torch.full_like(scale, zero)


def _of_some_size(scale: torch.Tensor) -> torch.Tensor:
    """The scale of a block of zeros is 1: some runtimes refuse one of 0."""
    return scale.where(scale.abs() > TINY, torch.ones_like(scale))


def _take_lesser(best: ScaleZero, least: torch.Tensor, other: ScaleZero, loss: torch.Tensor) -> None:
    """Write the other's scale and zero over those of the blocks that lose less with them."""
    lesser = loss < least
    for mine, its in zip((*best, least), (*other, loss), strict=True):
        torch.where(lesser, its, mine, out=mine)
