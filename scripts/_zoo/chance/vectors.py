"""Blocks of vectors, as in tables, recommenders and heads."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from .activations import activation
from .state import Do, Draw, State, block, needs, parameter, width


@block("nc")
def interactions(draw: Draw, state: State) -> nn.Module:
    """Products of all pairs of fields, as in DLRM, FM or a bilinear pool."""
    channels, how = state.channels, draw.pick(("pairs", "fm", "outer", "cross"))
    if how == "pairs":
        needs(channels % 4 == 0)
        rows, columns = torch.tril_indices(channels // 4, channels // 4, -1)
        needs(len(rows) > 0)

        def pairs(x: Tensor, rows: Tensor, columns: Tensor) -> Tensor:
            fields = x.view(-1, channels // 4, 4)
            return torch.cat([x, torch.bmm(fields, fields.transpose(1, 2))[:, rows, columns]], 1)

        return Do(pairs, rows=rows, columns=columns)
    if how == "fm":
        weight = parameter(channels, 8, scale=channels**-0.5)
        return Do(lambda x, weight: ((x @ weight) ** 2 - (x**2) @ (weight**2)) / 2, weight=weight)
    if how == "outer":
        needs(channels <= 16)
        if draw.maybe():
            return Do(lambda x: torch.einsum("ni,nj->nij", x, x).flatten(1))
        return Do(lambda x: (x.unsqueeze(2) * x.unsqueeze(1)).reshape(-1, channels**2))
    cross = nn.Linear(channels, channels)
    return Do(lambda x, cross: x * cross(x) + x, cross=cross)


@block("nc")
def experts(draw: Draw, state: State) -> nn.Module:
    """A mixture: all experts, or the best two by scatter."""
    gate, count, out = nn.Linear(state.channels, 4), 4, width(draw)
    weights = parameter(count, state.channels, out, scale=state.channels**-0.5)
    sparse = draw.maybe()

    def does(x: Tensor, gate: nn.Module, weights: Tensor) -> Tensor:
        shares = torch.softmax(gate(x), -1)
        if sparse:
            values, chosen = shares.topk(2, -1)
            shares = torch.zeros_like(shares).scatter(1, chosen, values)
        return torch.einsum("ne,nd,edo->no", shares, x, weights)

    return Do(does, gate=gate, weights=weights)


@block("nc")
def prototypes(draw: Draw, state: State) -> nn.Module:
    points, how = parameter(draw.whole(4, 12), state.channels), draw.pick(("distance", "cosine", "rbf", "squared"))

    def does(x: Tensor, points: Tensor) -> Tensor:
        if how == "cosine":
            return functional.linear(functional.normalize(x), functional.normalize(points)) * 8
        if how == "squared":
            return x.pow(2).sum(1, keepdim=True) - 2 * x @ points.t() + points.pow(2).sum(1)
        distances = torch.cdist(x, points) if how == "distance" else (x[:, None] - points[None]).pow(2).mean(-1)
        return distances if how == "distance" else torch.exp(-distances)

    return Do(does, points=points)


@block("nc")
def made_weights(draw: Draw, state: State) -> nn.Module:
    """A hypernetwork: a matrix of the sample for the sample."""
    made, channels = nn.Linear(state.channels, 4 * state.channels), state.channels

    def does(x: Tensor, made: nn.Module) -> Tensor:
        return torch.bmm(torch.tanh(made(x)).view(-1, 4, channels), x.unsqueeze(2)).squeeze(2)

    return Do(does, made=made)


@block("nc")
def highway(draw: Draw, state: State) -> nn.Module:
    gate, body = nn.Linear(state.channels, state.channels), nn.Linear(state.channels, state.channels)
    act = activation(draw)

    def does(x: Tensor, gate: nn.Module, body: nn.Module, act: nn.Module) -> Any:
        share = torch.sigmoid(gate(x))
        return share * act(body(x)) + (1 - share) * x

    return Do(does, gate=gate, body=body, act=act)


@block("nc")
def fourier(draw: Draw, state: State) -> nn.Module:
    rates = parameter(state.channels, 6, scale=0.5 * state.channels**-0.5)
    return Do(lambda x, rates: torch.cat([x, (x @ rates).sin(), (x @ rates).cos()], -1), rates=rates)


@block("nc")
def sorted_values(draw: Draw, state: State) -> nn.Module:
    needs(state.channels <= 16)
    if draw.maybe():
        return Do(lambda x: torch.sort(x, 1, descending=True)[0])
    return Do(lambda x: torch.topk(x, 3, 1)[0])


@block("nc")
def chosen_channels(draw: Draw, state: State) -> nn.Module:
    order = torch.from_numpy(draw.rng.permutation(state.channels))
    how, half = draw.pick(("index", "slice", "select", "unbind")), state.channels // 2
    needs(half > 1)
    if how == "index":
        return Do(lambda x, order: x[:, order], order=order)
    if how == "slice":
        return Do(lambda x: torch.cat([x[:, half:] * 2, x[:, :half]], 1))
    if how == "select":
        return Do(lambda x: torch.stack([x[:, 0], x[:, -1], x[:, 0] * x[:, 1]], 1))
    needs(state.channels <= 12)
    return Do(lambda x: torch.stack([part * (i + 1) / 2 for i, part in enumerate(x.unbind(1))], 1))


@block("nc")
def bilinear(draw: Draw, state: State) -> nn.Module:
    layer = nn.Bilinear(state.channels, state.channels, width(draw))
    needs(state.channels <= 16)
    return Do(lambda x, layer: layer(x, torch.tanh(x)), layer=layer)


@block("nc")
def soft_bins(draw: Draw, state: State) -> nn.Module:
    """A value as an expectation over bins, or a hard one as one_hot of where it lies."""
    bins = torch.linspace(-2, 2, 5)
    if draw.maybe(0.7):
        return Do(lambda x, bins: (torch.softmax(-((x.unsqueeze(-1) - bins) ** 2), -1) * bins).sum(-1), bins=bins)
    table = nn.Embedding(6, 3)
    return Do(lambda x, bins, table: torch.cat([x, table(torch.bucketize(x, bins)).mean(1)], 1), bins=bins, table=table)


@block("nc")
def hard_choice(draw: Draw, state: State) -> nn.Module:
    """one_hot of the greatest beside what it was taken from."""
    channels = state.channels
    return Do(lambda x: torch.cat([x, functional.one_hot(x.argmax(1), channels).to(x.dtype)], 1))
