"""Blocks of signals, pictures and volumes: convolutions, pools, gates, and what moves places."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils import parametrizations

from .activations import activation
from .state import PLACED, Do, Draw, State, block, groups_of, needs, parameter, width

_CONV: tuple[Any, ...] = (nn.Conv1d, nn.Conv2d, nn.Conv3d)
_TRANSPOSED = (nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d)
_BATCH_NORM = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)
_AVERAGE: tuple[Any, ...] = (nn.AvgPool1d, nn.AvgPool2d, nn.AvgPool3d)
_MAX = (nn.MaxPool1d, nn.MaxPool2d, nn.MaxPool3d)
_MEAN_TO = (nn.AdaptiveAvgPool1d, nn.AdaptiveAvgPool2d, nn.AdaptiveAvgPool3d)
_MAX_TO = (nn.AdaptiveMaxPool1d, nn.AdaptiveMaxPool2d, nn.AdaptiveMaxPool3d)


def _conv(draw: Draw, state: State, out: int, stride: int = 1, **options: Any) -> Any:
    kernel, dilation = draw.pick((1, 3, 3, 5)), draw.pick((1, 1, 1, 2))
    options = {
        "padding": dilation * (kernel // 2), "dilation": dilation, "stride": stride, "bias": draw.maybe(0.7),
        "groups": groups_of(draw, state.channels, out),
        "padding_mode": draw.pick(("zeros", "zeros", "zeros", "reflect", "replicate", "circular")), **options,
    }  # fmt: skip
    return _CONV[state.rank - 1](state.channels, out, kernel, **options)


@block(*PLACED, often=5)
def conv(draw: Draw, state: State) -> Any:
    if draw.maybe(0.2):
        return _conv(draw, state, width(draw), padding="same", padding_mode="zeros")
    return _conv(draw, state, width(draw), stride=draw.pick((1, 1, 2)))


@block(*PLACED, often=5)
def conv_norm_act(draw: Draw, state: State) -> nn.Module:
    out = width(draw)
    parts = [_conv(draw, state, out, bias=False), _BATCH_NORM[state.rank - 1](out), activation(draw)]
    order = draw.pick(((0, 1, 2), (0, 1, 2), (0, 2, 1)))
    return nn.Sequential(*(parts[i] for i in order))


@block(*PLACED)
def uneven_conv(draw: Draw, state: State) -> Any:
    """Another kernel, stride and padding on each axis."""
    kernel = tuple(draw.pick((1, 2, 3, 4)) for _ in state.places)
    stride = tuple(draw.pick((1, 1, 2, 3)) for _ in state.places)
    padding = tuple(k // 2 for k in kernel)
    return _CONV[state.rank - 1](state.channels, width(draw), kernel, stride=stride, padding=padding)


@block(*PLACED, often=5)
def inverted_residual(draw: Draw, state: State) -> nn.Module:
    """MobileNet's: widen, depthwise, narrow."""
    made, wide, norm = _CONV[state.rank - 1], 2 * state.channels, _BATCH_NORM[state.rank - 1]
    act = activation(draw)
    body = nn.Sequential(
        made(state.channels, wide, 1, bias=False), norm(wide), act, made(wide, wide, 3, padding=1, groups=wide),
        norm(wide), act, made(wide, state.channels, 1, bias=False), norm(state.channels),
    )  # fmt: skip
    return Do(lambda x, body: x + body(x), body=body)


@block(*PLACED)
def bound_conv(draw: Draw, state: State) -> Any:
    """Weight norm, spectral norm, or standardized weights."""
    layer: Any = _conv(draw, state, width(draw), padding_mode="zeros")
    how = draw.pick(("weight", "spectral", "standard"))
    if how == "weight":
        return parametrizations.weight_norm(layer)
    if how == "spectral":
        return parametrizations.spectral_norm(layer)
    axes, call = (
        tuple(range(1, 2 + state.rank)),
        (functional.conv1d, functional.conv2d, functional.conv3d)[state.rank - 1],
    )

    def does(x: Tensor, layer: Any) -> Tensor:
        w = layer.weight
        w = (w - w.mean(axes, keepdim=True)) / (w.var(axes, keepdim=True) + 1e-5).sqrt()
        return call(x, w, layer.bias, layer.stride, layer.padding, layer.dilation, layer.groups)

    needs(layer.weight[0].numel() > 1)
    return Do(does, layer=layer)


@block(*PLACED, often=5)
def transposed_conv(draw: Draw, state: State) -> nn.Module:
    out, stride = draw.pick((4, 6, 8, 12)), draw.pick((1, 2, 2, 3))
    kernel = stride + draw.pick((0, 1, 2))
    more = draw.pick((0, 1)) if stride > 1 else 0
    return _TRANSPOSED[state.rank - 1](
        state.channels, out, kernel, stride=stride, padding=draw.pick((0, kernel // 2)), output_padding=more,
        groups=groups_of(draw, state.channels, out), bias=draw.maybe(0.7),
    )  # fmt: skip


@block("nct")
def dynamic_conv(draw: Draw, state: State) -> nn.Module:
    """A depthwise kernel made of the sample."""
    made = nn.Linear(state.channels, 3 * state.channels)

    def does(x: Tensor, made: nn.Module) -> Tensor:
        kernels = torch.softmax(made(x.mean(2)).reshape(x.shape[0], -1, 3), -1)
        return torch.einsum("nctk,nck->nct", functional.pad(x, (1, 1)).unfold(2, 3, 1), kernels)

    return Do(does, made=made)


@block(*PLACED)
def average_pool(draw: Draw, state: State) -> Any:
    kernel = draw.pick((2, 3, 3))
    options = {"stride": draw.pick((1, 2, 2, 3)), "padding": draw.pick((0, kernel // 2)), "ceil_mode": draw.maybe(),
               "count_include_pad": draw.maybe()}  # fmt: skip
    return _AVERAGE[state.rank - 1](kernel, **options)


@block(*PLACED)
def max_pool(draw: Draw, state: State) -> nn.Module:
    kernel, dilation = draw.pick((2, 3, 3)), draw.pick((1, 1, 1, 2))
    return _MAX[state.rank - 1](
        kernel, stride=draw.pick((1, 2, 2, 3)), padding=draw.pick((0, kernel // 2)), dilation=dilation,
        ceil_mode=draw.maybe(),
    )  # fmt: skip


@block(*PLACED)
def pool_to(draw: Draw, state: State) -> Any:
    sizes = tuple(draw.pick((1, 2, 3, size)) if state.fixed else 1 for size in state.places)
    return draw.pick((_MEAN_TO, _MAX_TO))[state.rank - 1](sizes)


@block("nct", "nchw")
def power_pool(draw: Draw, state: State) -> nn.Module:
    made = (nn.LPPool1d, nn.LPPool2d)[state.rank - 1]
    return made(draw.pick((2, 3)), 2, stride=draw.pick((1, 2)), ceil_mode=False)


@block("nct", "nchw")
def upsample(draw: Draw, state: State) -> nn.Module:
    needs(max(state.places) <= 24)
    modes = ("nearest", "linear") if state.rank == 1 else ("nearest", "bilinear", "bicubic", "nearest-exact")
    mode, factor = draw.pick(modes), draw.pick((2.0, 2.0, 1.5, 0.5))
    corners = draw.maybe() if "linear" in mode or mode == "bicubic" else None
    if state.fixed and draw.maybe():
        size = [draw.whole(3, 20) for _ in state.places]
        return Do(lambda x: functional.interpolate(x, size=size, mode=mode, align_corners=corners))
    return Do(lambda x: functional.interpolate(x, scale_factor=factor, mode=mode, align_corners=corners))


@block("nchw")
def shuffles(draw: Draw, state: State) -> nn.Module:
    how = draw.pick(("up", "down", "channels", "focus", "unfold"))
    channels = state.channels
    if how == "up":
        needs(channels % 4 == 0 and max(state.places) <= 16)
        return nn.PixelShuffle(2)
    if how == "down":
        needs(channels <= 12)
        return nn.PixelUnshuffle(2)
    if how == "channels":
        needs(channels % 2 == 0)
        return nn.ChannelShuffle(2)
    needs(channels <= 12)
    if how == "focus":
        parts = ((0, 0), (1, 0), (0, 1), (1, 1))
        needs(all(size % 2 == 0 for x in state.seen for size in x.shape[2:]))
        return Do(lambda x: torch.cat([x[..., i::2, j::2] for i, j in parts], 1))
    needs(state.fixed)
    height, wide = state.places
    sizes = (-1, 4 * channels, height // 2, wide // 2)
    return Do(lambda x: functional.unfold(x, 2, stride=2).view(sizes))


@block("nchw")
def overlap_add(draw: Draw, state: State) -> nn.Module:
    """unfold, something for each patch, fold."""
    needs(state.fixed and state.channels <= 8)
    mix = nn.Linear(9 * state.channels, 9 * state.channels)
    sizes = state.places

    def does(x: Tensor, mix: nn.Module) -> Tensor:
        patches = torch.tanh(mix(functional.unfold(x, 3, padding=1, stride=2).transpose(1, 2)))
        return functional.fold(patches.transpose(1, 2), sizes, 3, padding=1, stride=2)

    return Do(does, mix=mix)


@block(*PLACED)
def pad(draw: Draw, state: State) -> nn.Module:
    mode = draw.pick(("constant", "reflect", "replicate", "circular"))
    amounts = [draw.whole(0, 2) for _ in range(2 * state.rank)]
    if mode == "constant" and draw.maybe():
        amounts[0] = -1
    value = draw.pick((0.0, -1.0, 0.5)) if mode == "constant" else None
    return Do(lambda x: functional.pad(x, amounts, mode, value))


@block(*PLACED, "ntc")
def moved(draw: Draw, state: State) -> nn.Module:
    """roll, flip, shift of some channels, a slice with a step, or an order of its own."""
    axis = draw.whole(1, len(state.kind) - 1)
    size = state.seen[0].shape[axis]
    how = draw.pick(("roll", "flip", "step", "order", "shift"))
    if how == "roll":
        steps = draw.pick((1, -1, 2))
        return Do(lambda x: torch.roll(x, steps, axis))
    if how == "flip":
        return Do(lambda x: torch.flip(x, (axis,)))
    if how == "step":
        needs(size >= 6)
        return Do(lambda x: x.movedim(axis, 0)[1::2].movedim(0, axis))
    if how == "order":
        needs(axis == state.axis or state.fixed)
        order = torch.from_numpy(draw.rng.permutation(size)[: max(2, size - 1)])
        return Do(lambda x, order: x.index_select(axis, order), order=order)
    place = state.rank + 1 if state.kind != "ntc" else 1
    fold = max(1, state.channels // 4)
    channels = state.axis

    def shift(x: Tensor) -> Tensor:
        one, other = torch.split(x, [fold, x.shape[channels] - fold], channels)
        return torch.cat([torch.roll(one, 1, place), other], channels)

    return Do(shift)


@block(*PLACED, often=5)
def squeeze_excite(draw: Draw, state: State) -> nn.Module:
    made, inner, spatial = _CONV[state.rank - 1], max(2, state.channels // 2), tuple(range(2, 2 + state.rank))
    act, gate = activation(draw), draw.pick((nn.Sigmoid, nn.Hardsigmoid, nn.Tanh))()
    how = draw.pick(("conv", "linear", "eca"))
    if how == "conv":
        body = nn.Sequential(made(state.channels, inner, 1), act, made(inner, state.channels, 1), gate)
        return Do(lambda x, body: x * body(x.mean(spatial, keepdim=True)), body=body)
    if how == "linear":
        body = nn.Sequential(nn.Linear(state.channels, inner), act, nn.Linear(inner, state.channels), gate)
        shape = (-1, state.channels, *[1] * state.rank)
        return Do(lambda x, body: x * body(x.mean(spatial)).view(shape), body=body)
    band = nn.Conv1d(1, 1, 3, padding=1, bias=False)
    rank = state.rank

    def does(x: Tensor, band: nn.Module) -> Tensor:
        gates = torch.sigmoid(band(x.mean(spatial).unsqueeze(1)).squeeze(1))
        return x * gates[(..., *[None] * rank)].expand_as(x)

    return Do(does, band=band)


@block("nchw")
def cbam(draw: Draw, state: State) -> nn.Module:
    inner = max(2, state.channels // 2)
    mlp = nn.Sequential(nn.Linear(state.channels, inner), nn.ReLU(), nn.Linear(inner, state.channels))
    conv = nn.Conv2d(2, 1, draw.pick((3, 7)), padding="same")

    def does(x: Tensor, mlp: nn.Module, conv: nn.Module) -> Tensor:
        gates = torch.sigmoid(mlp(x.mean((2, 3))) + mlp(x.amax((2, 3))))
        x = x * gates[:, :, None, None]
        return x * torch.sigmoid(conv(torch.cat([x.mean(1, keepdim=True), x.max(1, keepdim=True)[0]], 1)))

    return Do(does, mlp=mlp, conv=conv)


@block("nchw")
def global_context(draw: Draw, state: State) -> nn.Module:
    score, mix = nn.Conv2d(state.channels, 1, 1), nn.Conv2d(state.channels, state.channels, 1)

    def does(x: Tensor, score: nn.Module, mix: nn.Module) -> Any:
        shares = torch.softmax(score(x).flatten(2), -1)
        return x + mix(torch.matmul(x.flatten(2), shares.transpose(1, 2)).unsqueeze(-1))

    return Do(does, score=score, mix=mix)


@block("nchw")
def coordinates(draw: Draw, state: State) -> nn.Module:
    """CoordConv."""

    def does(x: Tensor) -> Tensor:
        n, _, h, w = x.shape
        rows = torch.linspace(-1, 1, h).view(1, 1, h, 1).expand(n, 1, h, w)
        columns = torch.arange(w).float().view(1, 1, 1, w).expand(n, 1, h, w) / w
        return torch.cat([x, rows, columns], 1)

    return Do(does)


@block("nchw")
def warped(draw: Draw, state: State) -> nn.Module:
    """A spatial transformer."""
    needs(state.fixed)
    where = nn.Linear(state.channels, 6)
    nn.init.normal_(where.weight, std=0.05)
    mode, beyond, corners = draw.pick(("bilinear", "nearest")), draw.pick(("zeros", "border")), draw.maybe()
    size, channels = state.places, state.channels

    def does(x: Tensor, where: nn.Module) -> Tensor:
        theta = where(x.mean((2, 3))).view(-1, 2, 3) + torch.eye(2, 3)
        grid = functional.affine_grid(theta, [x.shape[0], channels, *size], align_corners=corners)
        return functional.grid_sample(x, grid, mode=mode, padding_mode=beyond, align_corners=corners)

    return Do(does, where=where)


@block("nchw")
def mixed_channels(draw: Draw, state: State) -> nn.Module:
    weight = parameter(width(draw), state.channels, scale=state.channels**-0.5)
    equation = draw.pick(("nchw,dc->ndhw", "dc,nchw->ndhw"))
    if equation.startswith("n"):
        return Do(lambda x, weight: torch.einsum(equation, x, weight), weight=weight)
    return Do(lambda x, weight: torch.einsum(equation, weight, x), weight=weight)


@block("nct", "nchw")
def blur(draw: Draw, state: State) -> nn.Module:
    """A fixed kernel, in every channel alike."""
    kernel = torch.tensor([1.0, 2.0, 1.0]) / 4
    kernel = kernel if state.rank == 1 else torch.outer(kernel, kernel)
    kernel = kernel.expand(state.channels, 1, *kernel.shape).contiguous()
    call, channels = (functional.conv1d, functional.conv2d)[state.rank - 1], state.channels
    return Do(lambda x, kernel: call(x, kernel, stride=2, padding=1, groups=channels), kernel=kernel)


@block(*PLACED)
def axial(draw: Draw, state: State) -> nn.Module:
    """A linear layer along places, as in a mixer."""
    needs(state.fixed)
    mix = nn.Linear(state.places[-1], state.places[-1], bias=draw.maybe())
    return Do(lambda x, mix: x + mix(x), mix=mix)


@block(*PLACED, "ntc")
def running(draw: Draw, state: State) -> nn.Module:
    axis = 1 if state.kind == "ntc" else len(state.kind) - 1
    if draw.maybe(0.3):
        before = (0, 0, 1, 0) if state.kind == "ntc" else (1, 0)
        return Do(lambda x: x - functional.pad(x, before).narrow(axis, 0, x.shape[axis]))
    axis = draw.pick([a for a in range(1, len(state.kind)) if a != state.axis])
    if draw.maybe():
        return Do(lambda x: torch.cumsum(x, axis) / 4)

    def mean(x: Tensor) -> Tensor:
        shape = [1] * x.dim()
        shape[axis] = -1
        return torch.cumsum(x, axis) / torch.arange(1, x.shape[axis] + 1).view(shape)

    return Do(mean)


@block("nchw", "ncdhw")
def halves(draw: Draw, state: State) -> nn.Module:
    """Chunks of the places, stacked as channels."""
    needs(state.fixed and state.places[-1] % 2 == 0 and state.channels <= 16)
    if draw.maybe():
        return Do(lambda x: torch.cat(x.chunk(2, -1), 1))
    return Do(lambda x: torch.stack(x.chunk(2, -2), 2).flatten(1, 2) if x.shape[-2] % 2 == 0 else x)
