"""One pass over calibration texts that rounds a decoder as it goes.

Two streams run side by side through the layers: what the decoder computes in float32, and what it computes with all
that was rounded before. A matrix W meets the second, y', where the first, y, was meant. With H = y'^T y' and
K = y^T y' the matrix that comes nearest in floats is W K H^-1, and that is rounded under H: a layer makes good what
those before it lost (as GPTAQ; Li et al., 2025). Statistics live as long as the layers that take the same values.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import torch
from torch.nn import functional

from ...backends.decoding import Tokens
from ...profiles.machine.memory import trim
from .compensation import ReadMoments, compensate, shift_of
from .decoder import Decoder, Linear
from .eager import Eager
from .network import write
from .quantize import RoundedWeights
from .rounding import finite
from .weights import Floats, Integers

PART = 2048  # tokens whose products are added up at a time
# Of the mean of H's diagonal, ten times what is usual: texts say more of themselves than of others, and on others every
# matrix that was tried lost 4 to 10 % less with it (decision 57).
DAMPED = 0.1
FIRST = 4  # texts by which the table of a tied decoder is rounded, before all others


def round_with_texts(
    decoder: Decoder,
    weights: RoundedWeights,
    texts: Tokens,
    *,
    advance: Callable[[float], None] = lambda _: None,
) -> None:
    """Give every matrix of the plan its integers, by what calibration texts make of it.

    In memory are, beside the integers, values of all tokens between two layers, twice, and one layer's weights.

    Args:
        texts: of shape (count, positions).
        advance: told the share that is done.

    Raises:
        InputError: a weight is not finite.
    """
    if decoder.tied:
        _round_table(decoder, weights, texts[:: max(1, len(texts) // FIRST)])
    with torch.no_grad():
        write(decoder, _Compensating(decoder, weights, texts, advance))


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
    weights.hold(decoder.head.name, compensate(weight, taken.T @ taken, grid, damping=DAMPED))


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
        advance: Callable[[float], None],
    ) -> None:
        super().__init__(weights, texts)
        self.rounded, self.decoder, self.advance = weights, decoder, advance
        self.count = len(texts)
        self.groups = _groups(decoder)
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
        exact = torch.from_numpy(self.rounded.checkpoint.array(linear.weight))
        y = torch.cat((functional.linear(floats, exact), functional.linear(rounded, self.matrix(linear))))
        return y if linear.bias is None else y + self.vector(linear.bias)

    def _waits(self, linear: Linear) -> bool:
        return self.rounded.grids.get(linear.name) is not None and linear.name not in self.rounded.held

    def _round(self, group: list[Linear], floats: torch.Tensor, rounded: torch.Tensor) -> None:
        """Layers that take the same; those of one grid as one matrix, the rows of which do not depend on each other."""
        hessian, shift = _seen(floats.flatten(0, 1), rounded.flatten(0, 1))
        for grid in dict.fromkeys(self.rounded.grids[each.name] for each in group):
            some = [each for each in group if self.rounded.grids[each.name] == grid]
            meant = [_shifted(_checked(self.rounded.checkpoint.array(each.weight), each), shift) for each in some]
            assert grid is not None
            parts = _split(compensate(np.concatenate(meant), hessian, grid, damping=DAMPED), meant)
            for each, integers in zip(some, parts, strict=True):
                self.rounded.hold(each.name, integers)
        trim()  # by the last layer the holes were three times what was held


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
    return RoundedWeights(decoder=weights.decoder, checkpoint=weights.checkpoint, grids={})


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
    moments = ReadMoments(rounded.shape[1])
    for start in range(0, len(floats), PART):
        moments.add(floats[start : start + PART], rounded[start : start + PART])
    return moments.hessian, shift_of(moments.hessian, moments.between, DAMPED)


def _shifted(weight: Floats, shift: torch.Tensor) -> Floats:
    values = torch.from_numpy(weight)
    return np.asarray(torch.addmm(values, values, shift).numpy())
