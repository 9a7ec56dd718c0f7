"""Blocks that lead from one kind to another."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from .state import PLACED, Do, Draw, Made, State, block, needs, parameter, width


@block(*PLACED, "ntc")
def summary(draw: Draw, state: State) -> Made:
    """All places become one vector."""
    axes = tuple(a for a in range(1, len(state.kind)) if a != state.axis)
    how = draw.pick(("mean", "max", "sum", "std", "gem", "lse", "both", "norm", "keepdim"))
    power = nn.Parameter(torch.tensor(3.0))

    def does(x: Tensor, power: Tensor) -> Any:
        if how == "both":
            return torch.cat([x.mean(axes), x.amax(axes)], 1)
        if how == "gem":
            return x.clamp(min=1e-3).pow(power).mean(axes).pow(1 / power)
        if how == "lse":
            return torch.logsumexp(x, axes)
        if how == "std":
            return x.std(axes) + x.mean(axes)
        if how == "norm":
            return torch.linalg.vector_norm(x, dim=axes)
        if how == "keepdim":
            return x.mean(axes, keepdim=True).flatten(1)
        return {"mean": x.mean(axes), "max": x.amax(axes), "sum": x.sum(axes) / 8}[how]

    return Do(does, power=power if how == "gem" else torch.tensor(0.0)), "nc"


@block("ntc")
def attentive_summary(draw: Draw, state: State) -> Made:
    """Attentive statistics."""
    score, deviates = nn.Sequential(nn.Linear(state.channels, 8), nn.Tanh(), nn.Linear(8, 1)), draw.maybe()

    def does(x: Tensor, score: nn.Module) -> Tensor:
        shares = torch.softmax(score(x), 1)
        mean = (shares * x).sum(1)
        if not deviates:
            return mean
        return torch.cat([mean, torch.sqrt(((shares * x * x).sum(1) - mean**2).clamp(min=1e-5))], 1)

    return Do(does, score=score), "nc"


@block(*PLACED, "ntc", often=1)
def flat(draw: Draw, state: State) -> Made:
    needs(state.fixed and state.seen[0][0].numel() <= 512)
    out = width(draw)
    return nn.Sequential(nn.Flatten(), nn.Linear(state.seen[0][0].numel(), out, bias=draw.maybe(0.8))), "nc"


@block(*PLACED, "ntc", often=1)
def one_place(draw: Draw, state: State) -> Made:
    """The value at one place."""
    at = draw.pick((0, -1))
    return Do((lambda x: x[:, at]) if state.kind == "ntc" else (lambda x: x.flatten(2)[..., at])), "nc"


@block("nchw")
def as_tokens(draw: Draw, state: State) -> Made:
    """Places as tokens, patches, rows or columns."""
    how = draw.pick(("places", "patches", "columns"))
    if how == "places":
        needs(state.places[0] * state.places[1] <= 144)
        return Do(lambda x: x.flatten(2).transpose(1, 2)), "ntc"
    if how == "patches":
        layer = nn.Conv2d(state.channels, width(draw), 4, stride=4)
        return Do(lambda x, layer: layer(x).flatten(2).permute(0, 2, 1), layer=layer), "ntc"
    needs(state.channels * state.places[0] <= 96 and state.fixed)
    return Do(lambda x: x.permute(0, 3, 1, 2).flatten(2)), "ntc"


@block("nct", "ntc")
def turned(draw: Draw, state: State) -> Made:
    return Do(lambda x: x.transpose(1, 2)), "ntc" if state.kind == "nct" else "nct"


@block("ncdhw")
def less_deep(draw: Draw, state: State) -> Made:
    """A volume as a picture."""
    how = draw.pick(("mean", "channels", "batch"))
    if how == "mean":
        return Do(lambda x: x.mean(2)), "nchw"
    needs(state.fixed)
    depth = state.places[0]
    if how == "channels":
        needs(state.channels * depth <= 48)
        return Do(lambda x: x.flatten(1, 2)), "nchw"
    layer = nn.Conv2d(state.channels, 8, 3, padding=1)

    def does(x: Tensor, layer: nn.Module) -> Any:
        frames = x.transpose(1, 2).flatten(0, 1)
        return layer(frames).unflatten(0, (-1, depth)).amax(1)

    return Do(does, layer=layer), "nchw"


@block("nchw")
def as_signal(draw: Draw, state: State) -> Made:
    how = draw.pick(("mean", "max", "rows"))
    if how == "rows":
        needs(state.fixed and state.channels * state.places[0] <= 96)
        return Do(lambda x: x.flatten(1, 2)), "nct"
    return Do(lambda x: x.mean(2) if how == "mean" else x.amax(3)), "nct"


@block("nct")
def as_picture(draw: Draw, state: State) -> Made:
    """Frames of a signal, or one channel more."""
    if draw.maybe():
        return Do(lambda x: x.unsqueeze(1)), "nchw"
    return Do(lambda x: x.unfold(2, 4, 2).transpose(2, 3)), "nchw"


@block("ntc")
def places_again(draw: Draw, state: State) -> Made:
    """Tokens back in a square."""
    side = int(state.places[0] ** 0.5)
    needs(state.fixed and side * side == state.places[0])
    return Do(lambda x: x.transpose(1, 2).reshape(x.shape[0], -1, side, side)), "nchw"


@block("nc")
def spread(draw: Draw, state: State) -> Made:
    """A vector as tokens, or as a small picture."""
    how = draw.pick(("tokens", "picture", "repeat"))
    if how == "tokens":
        return nn.Sequential(nn.Linear(state.channels, 32), nn.Unflatten(1, (4, 8))), "ntc"
    if how == "picture":
        return nn.Sequential(nn.Linear(state.channels, 64), nn.Unflatten(1, (4, 4, 4))), "nchw"
    places = parameter(1, 5, state.channels)
    return Do(lambda x, places: x.unsqueeze(1).repeat(1, 5, 1) * places, places=places), "ntc"
