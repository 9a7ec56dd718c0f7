"""One pass over calibration texts that rounds a decoder as it goes.

Two streams run side by side through the layers: what the decoder computes in float32, and what it computes with all
that was rounded before. A matrix W meets the second, y', where the first, y, was meant. With H = y'^T y' and
K = y^T y' the matrix that comes nearest in floats is W K H^-1, and that is rounded under H: a layer makes good what
those before it lost (as GPTAQ; Li et al., 2025). Statistics live as long as the layers that take the same values.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch.nn import functional

from .agreement import Tokens
from .compensation import compensate, damp
from .decoder import Decoder, Linear
from .eager import Eager
from .network import write
from .quantize import RoundedWeights
from .rounding import TINY, finite, round_matrix
from .weights import Floats, Integers

PART = 2048  # tokens whose products are added up at a time
FIRST = 4  # texts by which the table of a tied decoder is rounded, before all others
JUDGING = 8  # one text in so many is kept to judge the two ways to round

# Values of the float stream and of the rounded one, of shape (texts, positions, inputs).
Streams = tuple[torch.Tensor, torch.Tensor]


@dataclass(frozen=True, slots=True, kw_only=True)
class Compared:
    """Squared error of what a matrix gives, in shares of its square, on texts that it was not rounded by.

    Attributes:
        nearest: rounded to the nearest, inputs weighed by their mean square.
        compensated: with each error made good by others.
    """

    nearest: float
    compensated: float

    @property
    def kept(self) -> bool:
        """Compensation pays."""
        return self.compensated < self.nearest


def round_with_texts(
    decoder: Decoder, weights: RoundedWeights, texts: Tokens, *, advance: Callable[[float], None] = lambda _: None
) -> dict[str, Compared]:
    """Give every matrix of the plan its integers, by what calibration texts make of it.

    In memory are, beside the integers, values of all tokens between two layers, twice, and one layer's weights.

    Args:
        texts: of shape (count, positions); of 8 or more, one in 8 judges.
        advance: told the share that is done.

    Returns:
        By name of the linear layer what either way loses.

    Raises:
        InputError: a weight is not finite.
    """
    if decoder.tied:
        _round_table(decoder, weights, texts[:: max(1, len(texts) // FIRST)])
    step = _Compensating(decoder, weights, texts, advance)
    with torch.no_grad():
        write(decoder, step)
    return step.compared


def _round_table(decoder: Decoder, weights: RoundedWeights, texts: Tokens) -> None:
    """The matrix of a tied decoder is both its first and its last: what it loses as the first, all layers make good."""
    grid = weights.grids.get(decoder.head.name)
    if grid is None or decoder.head.name in weights.held:
        return
    with torch.no_grad():
        last = _Last(_floats(weights), texts)
        write(decoder, last)
    taken = last.taken[0].flatten(0, 1)
    weight = _checked(weights.array(decoder.head.weight), decoder.head)
    weights.hold(decoder.head.name, compensate(weight, taken.T @ taken, grid))


class _Last(Eager):
    """Keeps what the head takes, and computes no logits."""

    def __init__(self, weights: RoundedWeights, tokens: Tokens) -> None:
        super().__init__(weights, tokens)
        self.head, self.taken = weights.decoder.head, [torch.empty(0)]

    def linear(self, x: torch.Tensor, linear: Linear) -> torch.Tensor:
        if linear != self.head:
            return super().linear(x, linear)
        self.taken[0] = x
        return x[..., :1]


class _Compensating(Eager):
    """Values are of both streams, one behind the other along the batch: in float32, then rounded."""

    def __init__(
        self, decoder: Decoder, weights: RoundedWeights, texts: Tokens, advance: Callable[[float], None]
    ) -> None:
        super().__init__(weights, texts)
        self.rounded, self.decoder, self.advance = weights, decoder, advance
        self.count = len(texts)
        self.fitting = self.count - (self.count // JUDGING)
        self.compared: dict[str, Compared] = {}
        self.groups = _groups(decoder)
        self.done, self.total = 0, sum(1 for _ in decoder.linears())

    def embed(self, decoder: Decoder) -> torch.Tensor:
        """As `Writer`, of both streams."""
        plain = Eager(_floats(self.rounded), self.tokens.numpy())
        return torch.cat((plain.embed(decoder), super().embed(decoder)))

    def linear(self, x: torch.Tensor, linear: Linear) -> torch.Tensor:
        """As `Writer`; the head gives nothing, as logits of all texts are too many and none asks for them."""
        floats, rounded = x[: self.count], x[self.count :]
        group = self.groups.pop(linear.reads, [])
        for grid in {self.rounded.grids.get(each.name) for each in group} - {None}:
            self._round([each for each in group if self.rounded.grids.get(each.name) == grid], floats, rounded)
        self.done += 1
        self.advance(self.done / self.total)
        if linear == self.decoder.head:
            return x[..., :1]
        exact = torch.from_numpy(self.rounded.array(linear.weight))
        y = torch.cat((functional.linear(floats, exact), functional.linear(rounded, self.matrix(linear))))
        return y if linear.bias is None else y + self.vector(linear.bias)

    def _round(self, group: list[Linear], floats: torch.Tensor, rounded: torch.Tensor) -> None:
        """Layers that take the same and have the same grid are one matrix."""
        group = [each for each in group if each.name not in self.rounded.held]
        if not group:
            return
        grid = self.rounded.grids[group[0].name]
        assert grid is not None
        weights = [_checked(self.rounded.array(each.weight), each) for each in group]
        hessian, shift = _seen(floats[: self.fitting].flatten(0, 1), rounded[: self.fitting].flatten(0, 1))
        meant = np.concatenate([_shifted(each, shift) for each in weights])
        found = compensate(meant, hessian, grid)
        importance = hessian.diagonal().numpy()
        for each, own, part in zip(group, weights, _parts(weights), strict=True):
            integers = replace(
                found,
                codes=found.codes[part],
                scales=found.scales[part],
                zeros=None if found.zeros is None else found.zeros[part],
            )
            self._hold_better(each, own, integers, importance, (floats[self.fitting :], rounded[self.fitting :]))

    def _hold_better(
        self, linear: Linear, weight: Floats, compensated: Integers, importance: Floats, judging: Streams
    ) -> None:
        if not len(judging[0]):
            self.rounded.hold(linear.name, compensated)
            return
        nearest = round_matrix(weight, compensated.grid, importance=importance)
        losses = [_lost(weight, each, *judging) for each in (nearest, compensated)]
        compared = Compared(nearest=losses[0], compensated=losses[1])
        self.compared[linear.name] = compared
        self.rounded.hold(linear.name, compensated if compared.kept else nearest)


def _floats(weights: RoundedWeights) -> RoundedWeights:
    return RoundedWeights(decoder=weights.decoder, checkpoint=weights.checkpoint, grids={}, instead=weights.instead)


def _groups(decoder: Decoder) -> dict[str, list[Linear]]:
    """Layers by what they take."""
    found: dict[str, list[Linear]] = {}
    for linear in decoder.linears():
        found.setdefault(linear.reads, []).append(linear)
    return found


def _checked(weight: Floats, linear: Linear) -> Floats:
    finite(weight, linear.weight.name)
    return weight


def _parts(weights: list[Floats]) -> list[slice]:
    ends = np.cumsum([len(each) for each in weights])
    return [slice(int(end) - len(each), int(end)) for end, each in zip(ends, weights, strict=True)]


def _seen(floats: torch.Tensor, rounded: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """H, and K H^-1 - 1 with H damped, of values of shape (tokens, inputs)."""
    width = rounded.shape[1]
    hessian, between = torch.zeros(width, width), torch.zeros(width, width)
    for start in range(0, len(floats), PART):
        y, its = floats[start : start + PART], rounded[start : start + PART]
        hessian.addmm_(its.T, its)
        between.addmm_((y - its).T, its)
    mean = float(hessian.diagonal().mean())
    shift = torch.linalg.solve(damp(hessian), between.T / mean).T if mean > TINY else torch.zeros_like(hessian)
    return hessian, shift


def _shifted(weight: Floats, shift: torch.Tensor) -> Floats:
    values = torch.from_numpy(weight)
    return np.asarray(torch.addmm(values, values, shift).numpy())


def _lost(weight: Floats, integers: Integers, floats: torch.Tensor, rounded: torch.Tensor) -> float:
    """Squared error of what a matrix gives, in shares of the square of what it should."""
    floats, rounded = floats.flatten(0, 1), rounded.flatten(0, 1)
    lost = meant = 0.0
    given = integers.floats()
    for start in range(0, len(weight), PART):
        part = slice(start, start + PART)
        expected = floats @ torch.from_numpy(weight[part]).T
        lost += float((rounded @ torch.from_numpy(given[part]).T - expected).square().sum())
        meant += float(expected.square().sum())
    return lost / max(meant, TINY)
