"""Blocks as they are in models that people use: of U-Nets, detectors, audio, point clouds and state spaces."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from .activations import activation
from .state import PLACED, Do, Draw, State, block, needs, parameter, width

_CONV: tuple[Any, ...] = (nn.Conv1d, nn.Conv2d, nn.Conv3d)


@block("nct", "nchw", often=4)
def unet(draw: Draw, state: State) -> nn.Module:
    """Norm, SiLU and a convolution; half the size and back, with what was there before beside it."""
    channels, rank = state.channels, state.rank
    needs(channels % 2 == 0 and all(size % 2 == 0 for x in state.seen for size in x.shape[2:]))
    conv, wide = _CONV[rank - 1], 2 * channels
    down = nn.Sequential(nn.GroupNorm(2, channels), nn.SiLU(), conv(channels, wide, 3, stride=2, padding=1))
    inner = nn.Sequential(nn.GroupNorm(4, wide), nn.SiLU(), conv(wide, wide, 3, padding=1))
    out = conv(wide + channels, channels, 3, padding=1)
    how = draw.pick(("nearest", "size", "pooled")) if state.fixed else "size"  # others may be odd

    def does(x: Tensor, down: nn.Module, inner: nn.Module, out: nn.Module) -> Any:
        y = down(x)
        y = y + inner(y)
        if how == "size":
            return out(torch.cat([functional.interpolate(y, size=x.shape[2:], mode="nearest"), x], 1))
        y = functional.interpolate(y, scale_factor=2.0, mode="nearest")
        return out(torch.cat([y if how == "nearest" else y + x.mean(1, keepdim=True), x], 1))

    return Do(does, down=down, inner=inner, out=out)


@block("nchw")
def deformed(draw: Draw, state: State) -> nn.Module:
    """Every place is read beside itself, by an offset of its own."""
    offset = nn.Conv2d(state.channels, 2, 3, padding=1)
    beyond, scale = draw.pick(("zeros", "border", "reflection")), draw.pick((0.1, 0.5))

    def does(x: Tensor, offset: nn.Module) -> Tensor:
        rows = torch.linspace(-1, 1, x.shape[2])[:, None].expand(x.shape[2], x.shape[3])
        columns = torch.linspace(-1, 1, x.shape[3])[None].expand(x.shape[2], x.shape[3])
        grid = torch.stack([columns, rows], -1) + scale * torch.tanh(offset(x)).permute(0, 2, 3, 1)
        return functional.grid_sample(x, grid, padding_mode=beyond, align_corners=True)

    return Do(does, offset=offset)


@block("nct", often=4)
def wavenet(draw: Draw, state: State) -> nn.Module:
    """Causal, dilated and gated."""
    channels, far = state.channels, draw.pick((1, 2, 4))
    both, out = nn.Conv1d(channels, 2 * channels, 2, dilation=far), nn.Conv1d(channels, channels, 1)

    def does(x: Tensor, both: nn.Module, out: nn.Module) -> Any:
        value, gate = both(functional.pad(x, (far, 0))).chunk(2, 1)
        return x + out(torch.tanh(value) * torch.sigmoid(gate))

    return Do(does, both=both, out=out)


@block("nct")
def spectrum(draw: Draw, state: State) -> nn.Module:
    """Sines and cosines as a bank of filters, and the magnitude of both."""
    size, bins, channels = 8, 5, state.channels
    angles = 2 * math.pi * torch.arange(bins)[:, None] * torch.arange(size) / size
    window = torch.hann_window(size)
    bank = torch.cat([angles.cos() * window, -angles.sin() * window])[:, None].repeat(channels, 1, 1)
    how = draw.pick(("log", "power", "root"))

    def does(x: Tensor, bank: Tensor) -> Tensor:
        both = functional.conv1d(x, bank, stride=4, groups=channels).unflatten(1, (channels, 2, bins))
        power = both.pow(2).sum(2).flatten(1, 2)
        return {"log": torch.log(power + 1e-3), "power": power, "root": torch.sqrt(power + 1e-6)}[how]

    return Do(does, bank=bank)


@block("nchw", "ntc", "nct")
def pyramid(draw: Draw, state: State) -> nn.Module:
    """What the largest is within some distances, side by side."""
    if state.kind == "ntc":
        pools: Any = [nn.MaxPool1d(k, 1, k // 2) for k in (3, 5)]
        return Do(lambda x, pools: torch.cat([x, *(pool(x.mT).mT for pool in pools)], -1), pools=nn.ModuleList(pools))
    pools = [(nn.MaxPool1d, nn.MaxPool2d)[state.rank - 1](k, 1, k // 2) for k in (3, 5)]
    return Do(lambda x, pools: torch.cat([x, *(pool(x) for pool in pools)], 1), pools=nn.ModuleList(pools))


@block(*PLACED)
def normed_unit(draw: Draw, state: State) -> nn.Module:
    """GroupNorm, an activation, a depthwise convolution and a gate of the whole."""
    conv, channels = _CONV[state.rank - 1], state.channels
    needs(channels % 2 == 0)
    places = tuple(range(2, 2 + state.rank))
    body = nn.Sequential(
        nn.GroupNorm(2, channels), activation(draw), conv(channels, channels, 3, padding=1, groups=channels)
    )
    gate = nn.Linear(channels, channels)
    shape = (..., *[None] * state.rank)
    return Do(lambda x, body, gate: x + body(x) * torch.sigmoid(gate(x.mean(places)))[shape], body=body, gate=gate)


@block("nchw")
def regions(draw: Draw, state: State) -> nn.Module:
    """Rows and columns at places that the sample says, as a region of interest."""
    needs(state.fixed)
    where, (high, wide), size = nn.Linear(state.channels, 2), state.places, 3
    needs(high > size and wide > size)
    steps = torch.arange(size)

    def does(x: Tensor, where: nn.Module, steps: Tensor) -> Tensor:
        first = torch.sigmoid(where(x.mean((2, 3)))) * torch.tensor([high - size, wide - size])
        rows = (first[:, :1] + steps).round().long().clamp(0, high - 1)
        columns = (first[:, 1:] + steps).round().long().clamp(0, wide - 1)
        x = torch.gather(x, 2, rows[:, None, :, None].expand(-1, x.shape[1], -1, wide))
        return torch.gather(x, 3, columns[:, None, None].expand(-1, x.shape[1], size, -1))

    return Do(does, where=where, steps=steps)


@block("nchw")
def soft_places(draw: Draw, state: State) -> tuple[nn.Module, str]:
    """Where each channel is, as an expectation over the picture."""

    def does(x: Tensor) -> Tensor:
        shares = torch.softmax(x.flatten(2), -1).view(x.shape)
        rows, columns = torch.arange(x.shape[2]).float(), torch.arange(x.shape[3]).float()
        return torch.cat([(shares.sum(3) * rows).sum(-1), (shares.sum(2) * columns).sum(-1)], 1)

    return Do(does), "nc"


@block("ntc", often=4)
def cross_attention(draw: Draw, state: State) -> nn.Module:
    """Of some learned tokens, or of what is left of this by a stride; with masks by an einsum."""
    channels, how = state.channels, draw.pick(("learned", "strided", "causal", "bucket"))
    heads = draw.pick([h for h in (1, 2, 4) if channels % h == 0])
    q, kv, out = nn.Linear(channels, channels), nn.Linear(channels, 2 * channels), nn.Linear(channels, channels)
    learned, table = parameter(1, 5, channels), parameter(8, heads, scale=0.5)

    def does(x: Tensor, q: nn.Module, kv: nn.Module, out: nn.Module, learned: Tensor, table: Tensor) -> Any:
        read = learned.expand(x.shape[0], -1, -1) if how == "learned" else x[:, ::2] if how == "strided" else x
        queries = q(x).unflatten(-1, (heads, -1))
        keys, values = (part.unflatten(-1, (heads, -1)) for part in kv(read).chunk(2, -1))
        scores = torch.einsum("nqhd,nkhd->nhqk", queries, keys) / queries.shape[-1] ** 0.5
        if how == "causal":
            scores = scores + torch.triu(torch.full(scores.shape[-2:], -1e4), 1)
        if how == "bucket":
            far = torch.arange(x.shape[1])[:, None] - torch.arange(x.shape[1])
            at = torch.bucketize(far, torch.tensor([-4, -2, -1, 0, 1, 2, 4]))
            scores = scores + table[at].permute(2, 0, 1)
        mixed = torch.einsum("nhqk,nkhd->nqhd", scores.softmax(-1), values)
        return x + out(mixed.flatten(2))

    return Do(does, q=q, kv=kv, out=out, learned=learned, table=table)


@block("ntc")
def masked_recurrent(draw: Draw, state: State) -> nn.Module:
    """An LSTM whose steps beyond a length are left out of what comes of them."""
    layer = nn.LSTM(state.channels, 8, batch_first=True, bidirectional=draw.maybe())
    how = draw.pick(("zero", "mean", "fill"))

    def does(x: Tensor, layer: nn.Module) -> Tensor:
        length = (x[..., 0] > 0).sum(1).clamp(min=1)
        kept = torch.arange(x.shape[1]) < length[:, None]
        y = layer(torch.where(kept[..., None], x, torch.zeros_like(x)))[0]
        if how == "fill":
            return y.masked_fill(~kept[..., None], 0.1)
        y = y * kept[..., None]
        return y if how == "zero" else y - (y.sum(1) / length[:, None])[:, None]

    return Do(does, layer=layer)


@block("ntc")
def nearest(draw: Draw, state: State) -> nn.Module:
    """The nearest points of each, as in networks of graphs."""
    needs(all(x.shape[1] >= 4 for x in state.seen) and max(x.shape[1] for x in state.seen) <= 24)
    mix = nn.Linear(2 * state.channels, state.channels)

    def does(x: Tensor, mix: nn.Module) -> Tensor:
        places = torch.cdist(x, x).topk(3, -1, largest=False)[1]
        around = torch.gather(
            x[:, None].expand(-1, x.shape[1], -1, -1), 2, places[..., None].expand(-1, -1, -1, x.shape[2])
        )
        own = x[:, :, None].expand_as(around)
        return torch.relu(mix(torch.cat([own, around - own], -1))).amax(2)

    return Do(does, mix=mix)


@block("ntc")
def decayed(draw: Draw, state: State) -> nn.Module:
    """A state space: a sum of what was before, each by how long ago."""
    made, rate = nn.Linear(state.channels, state.channels), parameter(state.channels, scale=0.2)

    def does(x: Tensor, made: nn.Module, rate: Tensor) -> Tensor:
        ago = torch.arange(x.shape[1])[:, None] - torch.arange(x.shape[1])
        kernel = torch.exp(-functional.softplus(rate) * ago.clamp(min=0)[..., None]) * (ago >= 0)[..., None]
        return x + torch.einsum("tsc,nsc->ntc", kernel, made(x)) / 4

    return Do(does, made=made, rate=rate)


@block("ntc")
def put_back(draw: Draw, state: State) -> nn.Module:
    """Some tokens are changed and put in their places again."""
    needs(state.fixed and state.places[0] >= 4)
    how, at = draw.pick(("index", "scatter", "add", "where")), torch.tensor([0, 2, 3])
    change = nn.Linear(state.channels, state.channels)
    count = state.places[0]

    def does(x: Tensor, change: nn.Module, at: Tensor) -> Tensor:
        new = change(x[:, at])
        if how == "add":
            return x.index_add(1, at, new)
        if how == "scatter":
            return x.scatter(1, at[None, :, None].expand_as(new), new)
        if how == "where":
            chosen = torch.zeros(count, dtype=torch.bool).index_fill(0, at, True)
            return torch.where(chosen[:, None], change(x), x)
        y = x.clone()
        y[:, at] = new
        return y

    return Do(does, change=change, at=at)


@block("ntc")
def segments(draw: Draw, state: State) -> nn.Module:
    """Tokens are added up by the group that each belongs to, and every one reads its own."""
    groups, assign = 3, nn.Linear(state.channels, 3)
    hard = draw.maybe()

    def does(x: Tensor, assign: nn.Module) -> Tensor:
        scores = assign(x)
        if not hard:
            shares = scores.softmax(-1)
            return x + shares @ (shares.mT @ x) / x.shape[1]
        at = scores.argmax(-1, keepdim=True).expand_as(x)
        sums = x.new_zeros(x.shape[0], groups, x.shape[2]).scatter_add(1, at, x)
        return x + sums.gather(1, at) / x.shape[1]

    return Do(does, assign=assign)


@block("nc", "ntc")
def similar(draw: Draw, state: State) -> nn.Module:
    """The cosine to some vectors beside what is there."""
    others = parameter(4, state.channels)
    return Do(lambda x, others: torch.cat([x, torch.cosine_similarity(x.unsqueeze(-2), others, -1)], -1), others=others)


@block("nc")
def bins(draw: Draw, state: State) -> nn.Module:
    """Values by the bin that each lies in, as embeddings of a table."""
    table, bounds = nn.Embedding(6, 4), torch.linspace(-1.5, 1.5, 5)
    needs(state.channels <= 12)
    return Do(lambda x, table, bounds: x.repeat(1, 4) + table(torch.bucketize(x, bounds)).flatten(1), table=table,
              bounds=bounds)  # fmt: skip


@block("nc")
def cells(draw: Draw, state: State) -> nn.Module:
    """A cell fed with its own state a few times, as in equilibrium or iterative networks."""
    made: Any = draw.pick((nn.GRUCell, nn.LSTMCell, nn.RNNCell))
    cell, out = made(state.channels, 8), width(draw)
    last = nn.Linear(8, out)

    def does(x: Tensor, cell: nn.Module, last: nn.Module) -> Any:
        hidden = None
        for _ in range(3):
            hidden = cell(x, hidden)
        return last(hidden[0] if isinstance(hidden, tuple) else hidden)

    return Do(does, cell=cell, last=last)


@block("nchw")
def sampled_conv(draw: Draw, state: State) -> nn.Module:
    """A mixture of kernels that the sample chooses, as CondConv has it."""
    channels = state.channels
    gate, kernels = nn.Linear(channels, 3), parameter(3, channels, channels, 3, 3, scale=1 / (3 * channels**0.5))

    def does(x: Tensor, gate: nn.Module, kernels: Tensor) -> Tensor:
        shares = torch.softmax(gate(x.mean((2, 3))), -1)
        every = functional.conv2d(x, kernels.flatten(0, 1), padding=1).unflatten(1, (3, channels))
        return (every * shares[:, :, None, None, None]).sum(1)

    return Do(does, gate=gate, kernels=kernels)
