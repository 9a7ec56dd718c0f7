"""Blocks of tokens and points: attention, recurrent layers, and what chooses tokens."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from .activations import activation
from .state import Do, Draw, State, block, needs, parameter, width


def _heads(draw: Draw, channels: int) -> int:
    return draw.pick([h for h in (1, 2, 4) if channels % h == 0])


@block("ntc", "nc", often=5)
def linear(draw: Draw, state: State) -> nn.Module:
    return nn.Linear(state.channels, width(draw), bias=draw.maybe(0.6))


@block("ntc", "nc", often=5)
def mlp(draw: Draw, state: State) -> nn.Module:
    wide = 2 * state.channels
    act = activation(draw)
    if draw.maybe(0.4):
        both, out = nn.Linear(state.channels, 2 * wide, bias=draw.maybe()), nn.Linear(wide, state.channels)

        def gated(x: Tensor, both: nn.Module, out: nn.Module, act: nn.Module) -> Any:
            gate, value = both(x).chunk(2, -1)
            return out(act(gate) * value)

        return Do(gated, both=both, out=out, act=act)
    return nn.Sequential(nn.Linear(state.channels, wide), act, nn.Linear(wide, state.channels))


@block("ntc")
def positions(draw: Draw, state: State) -> nn.Module:
    how = draw.pick(("learned", "sine"))
    if how == "learned":
        table = parameter(1, 64, state.channels, scale=0.3)
        needs(state.places[0] <= 64)
        return Do(lambda x, table: x + table[:, : x.shape[1]], table=table)
    needs(state.channels % 2 == 0)
    half = state.channels // 2

    def sine(x: Tensor) -> Tensor:
        rates = torch.exp(torch.arange(half) * (-4.0 / half))
        angles = torch.arange(x.shape[1])[:, None] * rates
        return x + torch.cat([angles.sin(), angles.cos()], -1)

    return Do(sine)


@block("ntc")
def multihead(draw: Draw, state: State) -> nn.Module:
    """As torch has it."""
    heads = _heads(draw, state.channels)
    attend = nn.MultiheadAttention(state.channels, heads, batch_first=True, bias=draw.maybe(0.7))
    return Do(lambda x, attend: x + attend(x, x, x, need_weights=False)[0], attend=attend)


@block("ntc", often=5)
def encoder_layer(draw: Draw, state: State) -> nn.Module:
    return nn.TransformerEncoderLayer(
        state.channels, _heads(draw, state.channels), 2 * state.channels, dropout=0.0, batch_first=True,
        activation=draw.pick(("relu", "gelu")), norm_first=draw.maybe(),
    )  # fmt: skip


@block("ntc", often=5)
def attention(draw: Draw, state: State) -> nn.Module:
    """By hand or by sdpa; causal, with a bias of distances, cosine, rotary, or masked by values."""
    channels, heads = state.channels, _heads(draw, state.channels)
    how = draw.pick(("sdpa", "causal", "distance", "table", "cosine", "rotary", "masked", "talking"))
    made, out = nn.Linear(channels, 3 * channels, bias=draw.maybe()), nn.Linear(channels, channels)
    size = channels // heads
    extra = {"table": parameter(heads, 127, scale=0.5), "talking": parameter(heads, heads, scale=heads**-0.5)}.get(how)
    needs(how != "rotary" or size % 2 == 0)
    needs(how != "table" or max(x.shape[1] for x in state.seen) <= 64)

    def does(x: Tensor, made: nn.Module, out: nn.Module, extra: Tensor | None) -> Any:
        n, t, _ = x.shape
        q, k, v = made(x).view(n, t, 3, heads, size).permute(2, 0, 3, 1, 4).unbind(0)
        if how in ("sdpa", "causal"):
            y = functional.scaled_dot_product_attention(q, k, v, is_causal=how == "causal")
            return x + out(y.transpose(1, 2).reshape(n, t, channels))
        if how == "rotary":
            q, k = _rotated(q), _rotated(k)
        if how == "cosine":
            q, k = functional.normalize(q, dim=-1) * 5, functional.normalize(k, dim=-1)
        scores = q @ k.transpose(-2, -1) * (1 if how == "cosine" else size**-0.5)
        places = torch.arange(t)
        if how == "distance":
            scores = scores - 0.25 * (places[:, None] - places[None]).abs()
        if how == "table" and extra is not None:
            scores = scores + extra[:, places[:, None] - places[None] + 63]
        if how == "masked":
            seen = x[..., 0] < x[..., 0].amax(1, keepdim=True)
            scores = scores.masked_fill(~seen[:, None, None], -1e4)
        shares = torch.softmax(scores, -1)
        if how == "talking" and extra is not None:
            shares = torch.einsum("nhqk,hg->ngqk", shares, extra)
        return x + out((shares @ v).transpose(1, 2).flatten(2))

    return Do(does, made=made, out=out, extra=extra)


def _rotated(x: Tensor) -> Tensor:
    half = x.shape[-1] // 2
    angles = torch.arange(x.shape[-2])[:, None] * torch.exp(-torch.arange(half) * (4.0 / half))
    one, other = x[..., :half], x[..., half:]
    return torch.cat([one * angles.cos() - other * angles.sin(), one * angles.sin() + other * angles.cos()], -1)


@block("ntc")
def linear_attention(draw: Draw, state: State) -> nn.Module:
    channels, heads = state.channels, _heads(draw, state.channels)
    made = nn.Linear(channels, 3 * channels, bias=False)

    def does(x: Tensor, made: nn.Module) -> Tensor:
        q, k, v = (part.unflatten(-1, (heads, -1)) for part in made(x).chunk(3, -1))
        q, k = functional.elu(q) + 1, functional.elu(k) + 1
        sums = torch.einsum("nthd,nthe->nhde", k, v)
        return x + (torch.einsum("nthd,nhde->nthe", q, sums)
                    / (torch.einsum("nthd,nhd->nth", q, k.sum(1)) + 1e-3).unsqueeze(-1)).flatten(2)  # fmt: skip

    return Do(does, made=made)


@block("ntc")
def windows(draw: Draw, state: State) -> nn.Module:
    """Attention in windows, shifted or not."""
    size, shift = draw.pick((2, 4)), draw.pick((0, 1))
    needs(all(x.shape[1] % size == 0 for x in state.seen))
    attend = nn.MultiheadAttention(state.channels, _heads(draw, state.channels), batch_first=True)
    channels = state.channels

    def does(x: Tensor, attend: nn.Module) -> Tensor:
        y = torch.roll(x, -shift, 1).reshape(-1, size, channels)
        return x + torch.roll(attend(y, y, y)[0].reshape(x.shape[0], -1, channels), shift, 1)

    return Do(does, attend=attend)


@block("ntc")
def queries(draw: Draw, state: State) -> nn.Module:
    """A few learned queries read all tokens."""
    learned = parameter(1, draw.whole(2, 6), state.channels)
    attend = nn.MultiheadAttention(state.channels, _heads(draw, state.channels), batch_first=True)
    return Do(lambda x, learned, attend: attend(learned.expand(x.shape[0], -1, -1), x, x)[0], learned=learned,
              attend=attend)  # fmt: skip


@block("ntc", often=5)
def recurrent(draw: Draw, state: State) -> nn.Module:
    made: Any = draw.pick((nn.LSTM, nn.GRU, nn.LSTM, nn.GRU, nn.RNN))
    layer = made(state.channels, draw.pick((4, 8, 12)), num_layers=draw.pick((1, 1, 2)), batch_first=True,
                 bidirectional=draw.maybe(), bias=draw.maybe(0.8))  # fmt: skip
    how = draw.pick(("all", "all", "residual"))
    out = layer.hidden_size * (2 if layer.bidirectional else 1)
    if how == "residual":
        return Do(lambda x, layer, back: x + back(layer(x)[0]), layer=layer, back=nn.Linear(out, state.channels))
    return Do(lambda x, layer: layer(x)[0], layer=layer)


@block("ntc")
def last_states(draw: Draw, state: State) -> tuple[nn.Module, str]:
    made: Any = draw.pick((nn.LSTM, nn.GRU))
    layer = made(state.channels, draw.pick((4, 8, 12)), batch_first=True, bidirectional=draw.maybe())
    is_lstm = isinstance(layer, nn.LSTM)

    def does(x: Tensor, layer: nn.Module) -> Tensor:
        last = layer(x)[1]
        return (torch.cat(last, -1) if is_lstm else last).transpose(0, 1).flatten(1)

    return Do(does, layer=layer), "nc"


@block("ntc")
def unrolled(draw: Draw, state: State) -> tuple[nn.Module, str]:
    """A cell step by step."""
    needs(state.fixed and state.places[0] <= 8)
    cell = nn.GRUCell(state.channels, 8)

    def does(x: Tensor, cell: nn.Module) -> Tensor:
        hidden = x.new_zeros(x.shape[0], 8)
        states = []
        for step in x.unbind(1):
            hidden = cell(step, hidden)
            states.append(hidden)
        return torch.stack(states, 1)

    return Do(does, cell=cell), "ntc"


@block("ntc")
def conv_over_time(draw: Draw, state: State) -> nn.Module:
    kernel = draw.pick((3, 4))
    layer = nn.Conv1d(state.channels, state.channels, kernel, groups=draw.pick((1, state.channels)))
    if draw.maybe():
        return Do(
            lambda x, layer: layer(functional.pad(x.transpose(1, 2), (kernel - 1, 0))).transpose(1, 2), layer=layer
        )
    return Do(lambda x, layer: x[:, kernel - 1 :] + layer(x.mT).mT, layer=layer)


@block("ntc")
def best_tokens(draw: Draw, state: State) -> nn.Module:
    """The tokens of the highest scores, in their order."""
    count = draw.whole(1, 4)
    score = nn.Linear(state.channels, 1)
    channels = state.channels

    def does(x: Tensor, score: nn.Module) -> Tensor:
        scores, chosen = torch.topk(score(x).squeeze(-1), count, 1)
        if ordered:
            return torch.gather(x, 1, chosen.sort(1)[0].unsqueeze(-1).expand(-1, -1, channels))
        return torch.gather(x, 1, chosen.unsqueeze(-1).expand(-1, -1, channels)) * torch.sigmoid(scores).unsqueeze(-1)

    ordered = draw.maybe()
    return Do(does, score=score)


@block("ntc", "nc")
def codebook(draw: Draw, state: State) -> nn.Module:
    """The nearest of some vectors, hard or soft."""
    vectors, hard = parameter(8, state.channels), draw.maybe(0.4)

    def does(x: Tensor, vectors: Tensor) -> Tensor:
        flat = x.reshape(-1, x.shape[-1])
        distances = torch.cdist(flat, vectors)
        if hard:
            return x + functional.embedding(distances.argmin(-1), vectors).reshape(x.shape)
        return (torch.softmax(-distances, -1) @ vectors).reshape(x.shape) + x

    return Do(does, vectors=vectors)


@block("ntc")
def first_token(draw: Draw, state: State) -> nn.Module:
    """A token of its own in front, or some."""
    token = parameter(1, draw.pick((1, 1, 2)), state.channels)
    return Do(lambda x, token: torch.cat([token.expand(x.shape[0], -1, -1), x], 1), token=token)


@block("ntc")
def neighbours(draw: Draw, state: State) -> nn.Module:
    """Each point beside the mean, the greatest, or the nearest by weight of the others."""
    how = draw.pick(("mean", "max", "near", "pairs"))
    if how in ("mean", "max"):
        return Do(lambda x: torch.cat([x, (x.mean(1, keepdim=True) if how == "mean" else x.amax(1, keepdim=True))
                                       .expand_as(x)], -1))  # fmt: skip
    if how == "near":
        return Do(lambda x: x + torch.softmax(-torch.cdist(x, x), -1) @ x)
    needs(max(x.shape[1] for x in state.seen) <= 16)
    mix = nn.Linear(state.channels, state.channels)
    return Do(lambda x, mix: torch.relu(mix(x.unsqueeze(2) - x.unsqueeze(1))).amax(2), mix=mix)


@block("ntc")
def merged_tokens(draw: Draw, state: State) -> nn.Module:
    """Two tokens become one, as between stages."""
    needs(all(x.shape[1] % 2 == 0 for x in state.seen) and state.channels <= 24)
    reduce = nn.Linear(2 * state.channels, state.channels, bias=False)
    if draw.maybe():
        return Do(lambda x, reduce: reduce(torch.cat([x[:, 0::2], x[:, 1::2]], -1)), reduce=reduce)
    return Do(lambda x, reduce: reduce(x.reshape(x.shape[0], x.shape[1] // 2, 2 * x.shape[2])), reduce=reduce)


@block("ntc")
def reverse_cumulated(draw: Draw, state: State) -> nn.Module:
    """What is still to come, weighted by a gate."""
    gate = nn.Linear(state.channels, state.channels)

    def does(x: Tensor, gate: nn.Module) -> Tensor:
        y = torch.sigmoid(gate(x)) * x
        return y.flip(1).cumsum(1).flip(1) / 3

    return Do(does, gate=gate)
