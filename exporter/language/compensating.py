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

from ...backends.decoding import Tokens
from ...profiles.device.grid import Grid
from ...profiles.machine.memory import trim
from .compensation import compensate, damp
from .decoder import Decoder, Linear, Norm
from .eager import Eager
from .network import write
from .quantize import RoundedWeights
from .rounding import TINY, finite
from .scaling import factors_of, foldable
from .weights import Floats, Integers

PART = 2048  # tokens whose products are added up at a time
FIRST = 4  # texts by which the table of a tied decoder is rounded, before all others
JUDGING = 8  # one text in so many is kept to judge factors


@dataclass(frozen=True, slots=True, kw_only=True)
class Losses:
    """Squared error of what a matrix gives, in shares of its square, on texts that it was not rounded by.

    Attributes:
        compensated: with each error made good by others.
        scaled: with factors folded into the norm before it, too.
    """

    compensated: float
    scaled: float


def round_with_texts(
    decoder: Decoder,
    weights: RoundedWeights,
    texts: Tokens,
    *,
    scaling: bool = False,
    advance: Callable[[float], None] = lambda _: None,
) -> dict[str, Losses]:
    """Give every matrix of the plan its integers, by what calibration texts make of it.

    In memory are, beside the integers, values of all tokens between two layers, twice, and one layer's weights.

    Args:
        texts: of shape (count, positions).
        scaling: try factors of channels, too, which takes half as long again; of 8 texts or more one in 8 judges them.
        advance: told the share that is done.

    Returns:
        By name of each linear layer of which factors were tried what either way loses.

    Raises:
        InputError: a weight is not finite.
    """
    if decoder.tied:
        _round_table(decoder, weights, texts[:: max(1, len(texts) // FIRST)])
    step = _Compensating(decoder, weights, texts, scaling, advance)
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
        self,
        decoder: Decoder,
        weights: RoundedWeights,
        texts: Tokens,
        scaling: bool,
        advance: Callable[[float], None],
    ) -> None:
        super().__init__(weights, texts)
        self.rounded, self.decoder, self.advance = weights, decoder, advance
        self.count = len(texts)
        self.fitting = self.count - (self.count // JUDGING if scaling else 0)
        self.compared: dict[str, Losses] = {}
        self.groups = _groups(decoder)
        self.norms = foldable(decoder) if self.fitting < self.count else {}
        self.done, self.total = 0, sum(1 for _ in decoder.linears())

    def embed(self, decoder: Decoder) -> torch.Tensor:
        """As `Writer`, of both streams."""
        plain = Eager(_floats(self.rounded), self.tokens.numpy())
        return torch.cat((plain.embed(decoder), super().embed(decoder)))

    def linear(self, x: torch.Tensor, linear: Linear) -> torch.Tensor:
        """As `Writer`; the head gives nothing, as logits of all texts are too many and none asks for them."""
        floats, rounded = x[: self.count], x[self.count :]
        group = [each for each in self.groups.pop(linear.reads, []) if self._waits(each)]
        if group:
            self._round(group, floats, rounded)
        self.done += 1
        self.advance(self.done / self.total)
        if linear == self.decoder.head:
            return x[..., :1]
        if linear.reads in self.rounded.factors:
            rounded = rounded / torch.from_numpy(self.rounded.factors[linear.reads])
        exact = torch.from_numpy(self.rounded.checkpoint.array(linear.weight))
        y = torch.cat((functional.linear(floats, exact), functional.linear(rounded, self.matrix(linear))))
        return y if linear.bias is None else y + self.vector(linear.bias)

    def _waits(self, linear: Linear) -> bool:
        return self.rounded.grids.get(linear.name) is not None and linear.name not in self.rounded.held

    def _round(self, group: list[Linear], floats: torch.Tensor, rounded: torch.Tensor) -> None:
        """Layers that take the same, whose factors are the same."""
        norm = self.norms.get(group[0].reads)
        weights = [_checked(self.rounded.checkpoint.array(each.weight), each) for each in group]
        grids = [self.rounded.grids[each.name] for each in group]
        work = _Work(
            weights=weights,
            grids=[grid for grid in grids if grid is not None],
            seen=_seen(floats[: self.fitting].flatten(0, 1), rounded[: self.fitting].flatten(0, 1)),
            judging=(floats[self.fitting :].flatten(0, 1), rounded[self.fitting :].flatten(0, 1)),
        )
        found = work.rounded()
        factors = None if norm is None else factors_of(np.concatenate(weights), work.seen[0], work.grids[0])
        if norm is not None and factors is not None:
            found = self._better(group, norm, factors, work, found)
        for each, integers in zip(group, found, strict=True):
            self.rounded.hold(each.name, integers)
        trim()  # by the last layer the holes were three times what was held

    def _better(
        self, group: list[Linear], norm: Norm, factors: Floats, work: _Work, found: list[Integers]
    ) -> list[Integers]:
        """What loses less for all of the group: its integers, or those with factors, which are then folded in."""
        scaling = work.scaled(factors)
        scaled = scaling.rounded()
        losses = [
            Losses(compensated=before, scaled=after)
            for before, after in zip(work.lost(found), scaling.lost(scaled), strict=True)
        ]
        self.compared.update({each.name: loss for each, loss in zip(group, losses, strict=True)})
        if sum(each.scaled for each in losses) >= sum(each.compensated for each in losses):
            return found
        self.rounded.scale(group[0].reads, norm, factors)
        return scaled


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Work:
    """Matrices that take the same, and what is known of that.

    Attributes:
        seen: H and K H^-1 - 1.
        judging: values of both streams, of shape (tokens, inputs), that H does not have.
    """

    weights: list[Floats]
    grids: list[Grid]
    seen: tuple[torch.Tensor, torch.Tensor]
    judging: tuple[torch.Tensor, torch.Tensor]

    def scaled(self, factors: Floats) -> _Work:
        """The same with each column multiplied, and each input divided."""
        of = torch.from_numpy(factors)
        return _Work(
            weights=[each * factors for each in self.weights],
            grids=self.grids,
            seen=(self.seen[0] / torch.outer(of, of), self.seen[1] / of[:, None] * of),
            judging=(self.judging[0] / of, self.judging[1] / of),
        )

    def rounded(self) -> list[Integers]:
        """Compensated integers of each matrix."""
        compensated: dict[int, Integers] = {}
        for grid in dict.fromkeys(self.grids):
            which = [index for index, each in enumerate(self.grids) if each == grid]
            meant = [_shifted(self.weights[index], self.seen[1]) for index in which]
            compensated.update(
                zip(which, _split(compensate(np.concatenate(meant), self.seen[0], grid), meant), strict=True)
            )
        return [compensated[index] for index in range(len(self.grids))]

    def lost(self, found: list[Integers]) -> list[float]:
        """What integers of each matrix lose, on the values that judge."""
        return [_lost(weight, each, *self.judging) for weight, each in zip(self.weights, found, strict=True)]


def _split(integers: Integers, weights: list[Floats]) -> list[Integers]:
    """The rows of one matrix as those of several."""
    ends = np.cumsum([len(each) for each in weights])
    parts = [slice(int(end) - len(each), int(end)) for end, each in zip(ends, weights, strict=True)]
    zeros = [None if integers.zeros is None else integers.zeros[part] for part in parts]
    return [
        replace(integers, codes=integers.codes[part], scales=integers.scales[part], zeros=zero)
        for part, zero in zip(parts, zeros, strict=True)
    ]


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
    lost = meant = 0.0
    given = integers.floats()
    for start in range(0, len(weight), PART):
        part = slice(start, start + PART)
        expected = floats @ torch.from_numpy(weight[part]).T
        lost += float((rounded @ torch.from_numpy(given[part]).T - expected).square().sum())
        meant += float(expected.square().sum())
    return lost / max(meant, TINY)
