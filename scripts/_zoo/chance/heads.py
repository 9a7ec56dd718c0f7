"""What a network answers: one or several outputs, of several scales and types."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

import torch
from torch import Tensor, nn
from torch.nn import functional

from .state import Do, Draw, State

Head: TypeAlias = Callable[[Draw, State], nn.Module]


def _last(state: State, x: Tensor) -> Tensor:
    return x if state.axis == x.dim() - 1 else x.movedim(1, -1)


def raw(draw: Draw, state: State) -> nn.Module:
    scale = draw.pick((1.0, 1.0, 100.0, 0.01))
    return nn.Identity() if scale == 1.0 else Do(lambda x: x * scale)


def scores(draw: Draw, state: State) -> nn.Module:
    layer = nn.Linear(state.channels, draw.pick((3, 5, 10)), bias=draw.maybe(0.8))
    after = draw.pick((nn.Identity(), nn.Identity(), nn.Softmax(-1), nn.LogSoftmax(-1), nn.Sigmoid()))
    return Do(lambda x, layer, after: after(layer(_last(state, x))), layer=layer, after=after)


def embedding(draw: Draw, state: State) -> nn.Module:
    layer = nn.Linear(state.channels, 8)
    return Do(lambda x, layer: functional.normalize(layer(_last(state, x)), dim=-1), layer=layer)


def labels(draw: Draw, state: State) -> nn.Module:
    """Scores beside which is the greatest."""
    layer = nn.Linear(state.channels, 4)

    def does(x: Tensor, layer: nn.Module) -> tuple[Tensor, Tensor]:
        y = layer(_last(state, x))
        return y, y.argmax(-1)

    return Do(does, layer=layer)


def best(draw: Draw, state: State) -> nn.Module:
    """The greatest values and where they are."""
    layer = nn.Linear(state.channels, 6)

    def does(x: Tensor, layer: nn.Module) -> dict[str, Tensor]:
        values, places = torch.topk(layer(_last(state, x)), 2, -1)
        return {"values": values, "places": places}

    return Do(does, layer=layer)


def boxes(draw: Draw, state: State) -> nn.Module:
    """Places in pixels and scores, as two outputs or one."""
    layer, together = nn.Linear(state.channels, 4 + 3), draw.maybe()

    def does(x: Tensor, layer: nn.Module) -> Tensor | tuple[Tensor, Tensor]:
        y = layer(_last(state, x))
        y = y.flatten(1, -2) if y.dim() > 3 else y
        centre, size, chances = y.split([2, 2, 3], -1)
        centre, size, chances = centre.sigmoid() * 320, size.clamp(max=4).exp() * 16, chances.sigmoid()
        corners = torch.cat([centre - size / 2, centre + size / 2], -1)
        return torch.cat([corners, chances], -1) if together else (corners, chances)

    return Do(does, layer=layer)


def gaussian(draw: Draw, state: State) -> nn.Module:
    """A mean and a logarithm of a variance."""
    layer = nn.Linear(state.channels, 6)

    def does(x: Tensor, layer: nn.Module) -> dict[str, Tensor]:
        mean, logarithm = layer(_last(state, x)).chunk(2, -1)
        return {"mean": mean, "logvar": logarithm.clamp(-8, 8)}

    return Do(does, layer=layer)


def statistics(draw: Draw, state: State) -> nn.Module:
    """What there is, and one number of each sample."""
    return Do(lambda x: (x, x.flatten(1).norm(dim=1), x.flatten(1).mean(1, keepdim=True)))


HEADS: tuple[Head, ...] = (raw, scores, scores, embedding, labels, best, boxes, gaussian, statistics)
