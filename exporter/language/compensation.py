"""Rounding that knows what a matrix multiplies: errors of one column are made good by others.

With X the inputs over calibration, the squared error of the outputs is tr((W - V) H (W - V)^T) with H = X^T X. Columns
are rounded one after the other, and what each leaves is spread over those still to come (GPTQ; Frantar et al., 2022).
Then each code and each scale is set anew to the best that there is while all others stay (coordinate descent, as
QuantEase; Behdin et al., 2023): no such step loses more.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch

from ...profiles.device.grid import Grid
from .rounding import TINY, finite, fit, holds, in_blocks, limits, middle, used
from .scales import short
from .weights import Floats, Integers

DAMPING = 0.01  # of the mean of H's diagonal, as Frantar et al.
SWEEPS = 4  # of coordinate descent
FINE = 8  # bits of which the first pass leaves nothing that sweeps would pay for
SWEPT = 0.5  # of the first pass's loss that sweeps leave, about: 0.45 on one matrix (decision 35)
LAZY = 128  # columns whose errors go to all behind them at once: one at a time waits for memory alone
STRIPS = 8  # of a triangle, where a square would be computed
ROWS = 8192  # of a matrix that are rounded at a time; rows do not depend on each other


def compensate(
    weight: Floats,
    hessian: torch.Tensor,
    grid: Grid,
    *,
    name: str = "the matrix",
    sweeps: int | None = None,
    scales: Floats | None = None,
    damping: float = DAMPING,
) -> Integers:
    """The matrix in integers of the grid, for the least squared error of what it gives.

    Args:
        weight: of shape (outputs, inputs).
        hessian: X^T X of what it multiplies, of shape (inputs, inputs), in any factor.
        name: what an error calls the matrix.
        sweeps: of coordinate descent; None is as many as pay.
        scales: of shape (outputs, blocks), of a symmetric grid, which stay; None finds them.
        damping: as of `damp`.

    Raises:
        InputError: a weight is not finite.
    """
    damped = damp(hessian, damping)
    return compensate_by(weight, damped, inverse_factor(damped), grid, name=name, sweeps=sweeps, scales=scales)


def compensate_by(
    weight: Floats,
    damped: torch.Tensor,
    factor: torch.Tensor,
    grid: Grid,
    *,
    name: str,
    sweeps: int | None = None,
    scales: Floats | None = None,
) -> Integers:
    """As `compensate`, given H damped and the factor of its inverse: of many small ones all are made at once."""
    rows, columns = weight.shape
    block = min(grid.block or columns, columns)
    codes, blocks = np.empty((rows, columns), np.uint8), -(-columns // block)
    found, zeros = np.empty((rows, blocks), np.float32), np.empty((rows, blocks), np.uint8)
    for start in range(0, rows, ROWS):
        part = slice(start, start + ROWS)
        values = finite(weight[part], name)
        state = _State(values, damped, grid, block, None if scales is None else scales[part])
        state.spread(factor)
        count = sweeps_of(grid) if sweeps is None else sweeps
        if count:
            state.incline()
        for left in reversed(range(count)):
            if not left:
                state.settle()
            state.sweep()
        codes[part] = state.codes.T.to(torch.uint8).numpy()
        found[part], zeros[part] = state.scale.T.numpy(), state.zero.T.to(torch.uint8).numpy()
    return Integers(grid=grid, codes=codes, scales=found, zeros=None if grid.symmetric else zeros)


def sweeps_of(grid: Grid) -> int:
    """How many pay."""
    return SWEEPS if grid.depth < FINE else 0


def damp(hessian: torch.Tensor, damping: float = DAMPING) -> torch.Tensor:
    """H with something on its diagonal, so that directions that calibration never saw count too.

    Args:
        hessian: of shape (..., inputs, inputs), each by itself.
        damping: in the mean of the diagonal.
    """
    mean = _mean(hessian)
    damped = hessian / mean
    damped.diagonal(dim1=-2, dim2=-1).add_(torch.where(mean < torch.inf, damping, 1.0)[..., 0])
    return damped


def _mean(hessian: torch.Tensor) -> torch.Tensor:
    """Of the diagonal, of shape (..., 1, 1); infinite, by which anything is 0, where next to nothing was read."""
    mean = hessian.diagonal(dim1=-2, dim2=-1).mean(-1)[..., None, None]
    return torch.where(mean > TINY, mean, torch.inf)


def inverse_factor(damped: torch.Tensor) -> torch.Tensor:
    """The upper Cholesky factor U of the inverse, H^-1 = U^T U."""
    # Turned about, H = R R^T with R upper, and so U = R^-1: the inverse need not be factored.
    lower = torch.linalg.cholesky(damped.double().flip(-1, -2))
    factor = torch.zeros_like(damped, dtype=torch.float32)
    for strip in _strips(lower.shape[-1]):
        # Above its diagonal the inverse of a triangle is 0, and is not solved for.
        below = lower[..., strip.start :, strip.start :]
        ones = torch.eye(below.shape[-1], strip.stop - strip.start, dtype=lower.dtype)
        factor[..., strip.start :, strip] = torch.linalg.solve_triangular(below, ones, upper=False).float()
    return factor.flip(-1, -2)


def _strips(width: int) -> Iterator[slice]:
    """Columns of a square matrix of which only the triangle on one side of the diagonal is computed."""
    step = max(LAZY, -(-width // STRIPS))
    for start in range(0, width, step):
        yield slice(start, min(start + step, width))


class ReadMoments:
    """Second moments of what a matrix was meant to read, y, and of what it reads, y', added up over calibration.

    Those of many matrices of one width, the groups of a convolution, lie along a first axis.

    Attributes:
        about_mean: they are kept about the mean of the first rows, for `centred`. Where a value hardly varies about a
            large mean, the difference of two large sums would be rounding alone, and no matrix of second moments.
        through: W of shape (..., outputs, inputs), where only W (y - y')^T y' is asked for: less for few outputs.
        between: (y - y')^T y', as `hessian`; taken through W, of shape (..., outputs, inputs).
        meant, found: sums of y and y', less the origin.
        lacking: the sum of y - y', taken through W.
        origin: that mean; 0 where moments are not about it.
        count: rows.
    """

    def __init__(
        self, width: int, groups: int | None = None, *, about_mean: bool = False, through: torch.Tensor | None = None
    ) -> None:
        lead = () if groups is None else (groups,)
        outputs = width if through is None else through.shape[-2]
        self._lower, self.between = torch.zeros(*lead, width, width), torch.zeros(*lead, outputs, width)
        self.meant, self.found, self.origin = (torch.zeros(*lead, width) for _ in range(3))
        self.lacking = torch.zeros(*lead, outputs)
        self.about_mean, self.through, self.count = about_mean, through, 0

    @property
    def hessian(self) -> torch.Tensor:
        """y'^T y', of shape (inputs, inputs) or (groups, inputs, inputs)."""
        for strip in _strips(self._lower.shape[-1]):
            self._lower[..., : strip.start, strip] = self._lower[..., strip, : strip.start].mT
        return self._lower

    def add(self, meant: torch.Tensor, found: torch.Tensor) -> None:
        """Both of shape (rows, inputs) or (groups, rows, inputs)."""
        if self.about_mean:
            if not self.count:
                self.origin = found.mean(-2)
            meant, found = (rows - self.origin[..., None, :] for rows in (meant, found))
        lacking = meant - found
        if self.through is not None:
            lacking = lacking @ self.through.mT
        for strip in _strips(self._lower.shape[-1]):
            _add_product(self._lower[..., strip, : strip.stop], found[..., strip], found[..., : strip.stop])
        _add_product(self.between, lacking, found)
        self.meant += meant.sum(-2)
        self.found += found.sum(-2)
        self.lacking += lacking.sum(-2)
        self.count += found.shape[-2]

    def means(self) -> tuple[torch.Tensor, torch.Tensor]:
        """Of y and of y', in float64."""
        count, origin = max(self.count, 1), self.origin.double()
        return self.meant.double() / count + origin, self.found.double() / count + origin

    def centred(self) -> tuple[torch.Tensor, torch.Tensor]:
        """H and the other product of what is left without the means, for a layer whose bias makes up for these."""
        found = (self.found / max(self.count, 1))[..., None, :]
        return self.hessian - self.found[..., None] * found, self.between - self.lacking[..., None] * found


def _add_product(total: torch.Tensor, left: torch.Tensor, right: torch.Tensor) -> None:
    """left^T right, of each group."""
    (total.addmm_ if total.dim() == 2 else total.baddbmm_)(left.mT, right)


def shift_of(hessian: torch.Tensor, between: torch.Tensor, damping: float = DAMPING) -> torch.Tensor:
    """K H^-1 - 1 with H damped, K = y^T y': by what a matrix changes in floats to come nearest to what was meant."""
    solved: torch.Tensor = torch.linalg.solve(damp(hessian, damping), between.mT / _mean(hessian))
    return solved.mT


def moved_by(lacking: torch.Tensor, hessian: torch.Tensor, factor: torch.Tensor) -> torch.Tensor:
    """What `shift_of` makes of a matrix, W (K H^-1 - 1), by the factor of H's inverse.

    For a matrix of fewer rows than inputs that is a fraction of solving for the shift itself.

    Args:
        lacking: W (y - y')^T y', of shape (..., outputs, inputs).
        factor: of H damped.
    """
    return (lacking / _mean(hessian)) @ factor.mT @ factor


class _State:
    """Some rows of a matrix while they are rounded, turned so that a column lies in one piece.

    Attributes:
        codes: of shape (columns, rows), as floats.
        scale, zero: of shape (blocks, rows).
        used: blocks that are not all zeros, of shape (rows, blocks).
        up: scales are shortened to none that is less.
        held: scales stay: they were given, or have been settled.
        slope: half of the loss's fall by each value, kept true by every change after `incline`.
    """

    def __init__(
        self, values: torch.Tensor, damped: torch.Tensor, grid: Grid, block: int, scales: Floats | None
    ) -> None:
        importance = in_blocks(damped.diagonal()[None], block)
        self.used, self.up = used(in_blocks(values, block)), holds(grid)
        if scales is None:
            scale, zero = fit(in_blocks(values, block), importance, grid, even=True)
            scale = short(scale, self.used, up=self.up)
        else:
            scale = torch.tensor(scales)
            zero = torch.full_like(scale, float(middle(grid)))
        self.held = scales is not None
        self.scale, self.zero = scale.T.contiguous(), zero.T.contiguous()
        self.values, self.damped, self.block = values.T.contiguous(), damped, block
        self.limits = limits(grid)
        self.codes = torch.empty_like(self.values)
        self.error = torch.empty_like(self.values)  # values less what stands for them
        self.slope = self.error

    def spread(self, factor: torch.Tensor) -> None:
        """Round column by column; what some columns leave goes to all behind them at once."""
        left = self.values.clone()
        for index, part in self._parts(LAZY):
            some, within = left[part], factor[part, part]
            scale, zero = self.scale[index], self.zero[index]
            errors = torch.empty_like(some)
            for column, value in enumerate(some):
                code = (value / scale).add_(zero).round_().clamp_(*self.limits)
                self.codes[part.start + column] = code
                error = torch.sub(value, code.sub_(zero).mul_(scale), out=errors[column])
                error.div_(within[column, column])
                some[column + 1 :].addr_(within[column, column + 1 :], error, alpha=-1)
            left[part.stop :].addmm_(factor[part, part.stop :].T, errors, alpha=-1)
            self.error[part] = self.values[part] - (self.codes[part] - zero) * scale

    def incline(self) -> None:
        """Find the slope, before the first sweep."""
        self.slope = self.damped @ self.error

    def settle(self) -> None:
        """Make the scales those that are stored; from now on they stay."""
        if self.held:
            return
        self.held, self.scale = True, short(self.scale.T, self.used, up=self.up).T.contiguous()
        for index, part in self._parts():
            self.error[part] = self.values[part] - (self.codes[part] - self.zero[index]) * self.scale[index]
        self.incline()

    def sweep(self) -> None:
        """Set each code, and each scale, to the best while all others stay."""
        for index, part in self._parts():
            before = self.error[part].clone()
            within, some = self.damped[part, part].contiguous(), self.slope[part].clone()
            self._codes_anew(index, part, some, within)
            if not self.held:
                self._scale_anew(index, part, some, within)
            self.slope.addmm_(self.damped[:, part], self.error[part] - before)

    def _codes_anew(self, index: int, part: slice, slope: torch.Tensor, within: torch.Tensor) -> None:
        """`slope` is that of this part, and is kept true."""
        scale, inverse = self.scale[index], 1 / self.scale[index]
        for column, (code, error) in enumerate(zip(self.codes[part], self.error[part], strict=True)):
            new = (slope[column] * inverse).div_(within[column, column]).add_(code).round_().clamp_(*self.limits)
            change = (code - new).mul_(scale)
            code.copy_(new)
            error.add_(change)
            slope.addr_(within[column], change)

    def _scale_anew(self, index: int, part: slice, slope: torch.Tensor, within: torch.Tensor) -> None:
        steps = self.codes[part] - self.zero[index]
        met, bent = (steps * slope).sum(0), (within @ steps).mul_(steps).sum(0)
        more = torch.where(bent > TINY, met / bent, torch.zeros_like(bent))
        usable = (self.scale[index] + more).abs() > TINY
        more = more.where(usable, torch.zeros_like(more))
        self.scale[index] += more
        self.error[part] -= steps * more

    def _parts(self, most: int | None = None) -> Iterator[tuple[int, slice]]:
        """The columns of each block, `most` at a time, and the block's number."""
        width, step = self.values.shape[0], most or self.block
        for index, first in enumerate(range(0, width, self.block)):
            end = min(first + self.block, width)
            for start in range(first, end, step):
                yield index, slice(start, min(start + step, end))
