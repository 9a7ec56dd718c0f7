"""Blocks around others: a value that is used twice, and weights that are."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from .state import BLOCKS, KINDS, Do, Draw, State, UnfitError, block, needs

_TRIES = 12


def inside(draw: Draw, state: State, *, same: bool, most: int = 2) -> tuple[nn.Module, State]:
    """One or two blocks of the same kind; `same`: that keep every size as well."""
    outer = {name for name, each in BLOCKS.items() if each.make.__module__ == __name__}
    fitting = [each for name, each in BLOCKS.items() if state.kind in each.kinds and name not in outer]
    parts: list[nn.Module] = []
    now = state
    for _ in range(draw.whole(1, most)):
        for _ in range(_TRIES):
            try:
                part, after = draw.pick(fitting)(draw, now)
            except UnfitError:
                continue
            if after.kind == state.kind and (not same or _alike(after, state)):
                parts.append(part)
                now = after
                break
    needs(bool(parts))
    return nn.Sequential(*parts) if len(parts) > 1 else parts[0], now


def _alike(one: State, other: State) -> bool:
    return all(a.shape == b.shape for a, b in zip(one.seen, other.seen, strict=True))


@block(*KINDS, often=4)
def residual(draw: Draw, state: State) -> nn.Module:
    body, _ = inside(draw, state, same=True)
    after = draw.pick((nn.Identity, nn.Identity, nn.ReLU))()
    return Do(lambda x, body, after: after(x + body(x)), body=body, after=after)


@block(*KINDS)
def dense(draw: Draw, state: State) -> nn.Module:
    body, after = inside(draw, state, same=False)
    axis, first = state.axis, draw.maybe()
    needs(after.channels + state.channels <= 64)
    for a, b in zip(after.seen, state.seen, strict=True):
        needs(a.select(axis, 0).shape == b.select(axis, 0).shape)
    return Do(lambda x, body: torch.cat([x, body(x)] if first else [body(x), x], axis), body=body)


@block(*KINDS)
def twice(draw: Draw, state: State) -> nn.Module:
    """The same weights twice, in turn or side by side."""
    body, _ = inside(draw, state, same=True)
    if draw.maybe():
        return Do(lambda x, body: body(body(x)), body=body)
    return Do(lambda x, body: body(x) + body(-x), body=body)


@block(*KINDS)
def two_ways(draw: Draw, state: State) -> nn.Module:
    """Two branches, and what joins them."""
    (one, _), (other, _) = (inside(draw, state, same=True) for _ in range(2))
    how = draw.pick(("sum", "product", "gate", "max", "difference", "mean"))

    def does(x: Tensor, one: nn.Module, other: nn.Module) -> Any:
        a, b = one(x), other(x)
        if how == "mean":
            return torch.stack([a, b, x]).mean(0)
        return {
            "sum": a + b, "product": a * b, "gate": torch.sigmoid(a) * b, "max": torch.maximum(a, b),
            "difference": (a - b).abs(),
        }[how]  # fmt: skip

    return Do(does, one=one, other=other)


@block(*KINDS)
def split_channels(draw: Draw, state: State) -> nn.Module:
    """A half goes through something, the other passes, as in CSP and ShuffleNet."""
    needs(state.channels % 2 == 0 and state.channels >= 4)
    axis, half = state.axis, state.channels // 2
    part = State(kind=state.kind, seen=(state.seen[0].narrow(axis, 0, half), state.seen[1].narrow(axis, 0, half)))
    body, _ = inside(draw, part, same=True)
    shuffles = draw.maybe()

    def does(x: Tensor, body: nn.Module) -> Tensor:
        one, other = torch.split(x, half, axis)
        if shuffles:
            return torch.stack([body(one), other], axis + 1).flatten(axis, axis + 1)
        return torch.cat([other, body(one)], axis)

    return Do(does, body=body)
