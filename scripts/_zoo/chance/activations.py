"""Blocks that change each value, and norms."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from .state import KINDS, PLACED, Do, Draw, State, UnfitError, block, needs, parameter

_MODULES: tuple[Callable[[], nn.Module], ...] = (
    nn.ReLU, nn.ReLU6, nn.SiLU, nn.GELU, lambda: nn.GELU(approximate="tanh"), nn.Hardswish, nn.Hardsigmoid, nn.Mish,
    nn.ELU, nn.SELU, nn.CELU, nn.Softplus, nn.Tanh, nn.Sigmoid, lambda: nn.LeakyReLU(0.1), nn.Softsign, nn.LogSigmoid,
    nn.Tanhshrink, lambda: nn.Hardtanh(-2.0, 2.0), lambda: nn.Softshrink(0.1), lambda: nn.Threshold(0.1, 0.0),
)  # fmt: skip
_FUNCTIONS: tuple[Callable[[Tensor], Tensor], ...] = (
    lambda x: x.clamp(min=-1.5, max=2.0),
    lambda x: torch.relu(x) ** 2,
    lambda x: torch.sign(x) * torch.log1p(x.abs()),
    lambda x: torch.sin(x) + x,
    lambda x: x * torch.sigmoid(1.702 * x),
    lambda x: torch.exp(-x * x / 2),
    lambda x: torch.where(x > 0, x, 0.05 * x),
    lambda x: x.masked_fill(x < -1, -1.0),
    lambda x: torch.sqrt(x.abs() + 1e-6),
    lambda x: torch.maximum(x, -0.2 * x),
    lambda x: x / (1 + x.abs()),
    lambda x: torch.atan(x),
    lambda x: x.pow(3) / (x.pow(2) + 1),
    lambda x: torch.log(torch.softmax(x, 1) + 1e-6),
)


def activation(draw: Draw) -> nn.Module:
    """One that takes any shape."""
    return draw.pick(_MODULES)()


@block(*KINDS)
def act(draw: Draw, state: State) -> nn.Module:
    return activation(draw) if draw.maybe(0.7) else Do(draw.pick(_FUNCTIONS))


@block(*PLACED, "nc")
def prelu(draw: Draw, state: State) -> nn.Module:
    return nn.PReLU(state.channels if draw.maybe() else 1)


@block(*KINDS, often=1)
def glu(draw: Draw, state: State) -> nn.Module:
    needs(state.channels % 2 == 0)
    return nn.GLU(state.axis)


@block(*KINDS, often=1)
def crelu(draw: Draw, state: State) -> nn.Module:
    axis = state.axis
    return Do(lambda x: torch.relu(torch.cat([x, -x], axis)))


@block(*KINDS, often=1)
def maxout(draw: Draw, state: State) -> nn.Module:
    axis, channels = state.axis, state.channels
    needs(channels % 2 == 0)
    return Do(lambda x: x.unflatten(axis, (channels // 2, 2)).amax(axis + 1))


@block(*KINDS)
def affine(draw: Draw, state: State) -> nn.Module:
    """A scale and an offset a channel, as LayerScale, or of one number."""
    shape = [1] * len(state.kind)
    shape[state.axis] = state.channels if draw.maybe(0.7) else 1
    how = draw.pick(("both", "scale", "offset", "layer"))
    scale = nn.Parameter(1 + 0.3 * torch.randn(shape[1:])) if how in ("both", "scale") else None
    if how == "layer":
        scale = nn.Parameter(0.1 + 0.01 * torch.randn(shape[1:]))
    offset = parameter(*shape[1:], scale=0.5) if how in ("both", "offset") else None

    def does(x: Tensor, scale: Tensor | None, offset: Tensor | None) -> Tensor:
        x = x if scale is None else x * scale
        return x if offset is None else x + offset

    return Do(does, scale=scale, offset=offset)


@block(*KINDS, often=1)
def outlier_channels(draw: Draw, state: State) -> nn.Module:
    """Some channels are much larger than the others, as in trained transformers."""
    scales = torch.ones(state.channels)
    scales[draw.whole(0, state.channels - 1)] = draw.pick((8.0, 30.0))
    shape = [1] * len(state.kind)
    shape[state.axis] = -1
    return Do(lambda x, scales: x * scales, scales=nn.Parameter(scales.reshape(shape)))


@block(*PLACED, "nc")
def batch_norm(draw: Draw, state: State) -> nn.Module:
    made = (nn.BatchNorm1d, nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)[state.rank]
    return made(state.channels, affine=draw.maybe(0.9), eps=draw.pick((1e-5, 1e-3)))


@block(*PLACED, "nc")
def group_norm(draw: Draw, state: State) -> nn.Module:
    groups = draw.pick([g for g in (1, 2, 4, state.channels) if state.channels % g == 0])
    needs(groups < state.channels or state.rank > 0)
    return nn.GroupNorm(groups, state.channels, affine=draw.maybe(0.9))


@block(*PLACED)
def instance_norm(draw: Draw, state: State) -> nn.Module:
    made = (nn.InstanceNorm1d, nn.InstanceNorm2d, nn.InstanceNorm3d)[state.rank - 1]
    return made(state.channels, affine=draw.maybe())


@block("nc", "ntc")
def layer_norm(draw: Draw, state: State) -> nn.Module:
    return nn.LayerNorm(state.channels, elementwise_affine=draw.maybe(0.8), bias=draw.maybe(0.8))


@block(*PLACED)
def layer_norm_of_channels(draw: Draw, state: State) -> nn.Module:
    """As in ConvNeXt: behind a permute, or by hand along axis 1."""
    norm, shape = nn.LayerNorm(state.channels), (-1, *[1] * state.rank)
    if draw.maybe():
        return Do(lambda x, norm: norm(x.movedim(1, -1)).movedim(-1, 1), norm=norm)

    def by_hand(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        mean = x.mean(1, keepdim=True)
        variance = (x - mean).pow(2).mean(1, keepdim=True)
        return weight.reshape(shape) * (x - mean) / torch.sqrt(variance + 1e-6) + bias.reshape(shape)

    return Do(by_hand, weight=nn.Parameter(1 + 0.1 * torch.randn(state.channels)),
              bias=parameter(state.channels, scale=0.1))  # fmt: skip


@block("nct", "nchw", "ntc")
def layer_norm_of_all(draw: Draw, state: State) -> nn.Module:
    needs(state.fixed)
    return nn.LayerNorm(list(state.seen[0].shape[1:]))


@block("nc", "ntc")
def rms_norm(draw: Draw, state: State) -> nn.Module:
    if draw.maybe():
        return nn.RMSNorm(state.channels, eps=1e-6)
    weight = nn.Parameter(1 + 0.1 * torch.randn(state.channels))
    return Do(lambda x, weight: x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + 1e-6) * weight, weight=weight)


@block(*KINDS, often=1)
def unit_length(draw: Draw, state: State) -> nn.Module:
    axis, order = state.axis, draw.pick((2.0, 2.0, 1.0))
    return Do(lambda x: functional.normalize(x, p=order, dim=axis) * 4)


@block(*KINDS, often=1)
def softmax(draw: Draw, state: State) -> nn.Module:
    axis = draw.whole(1, len(state.kind) - 1)
    needs(2 <= state.seen[0].shape[axis] <= 64)
    if draw.maybe(0.3):
        return nn.LogSoftmax(axis)
    return Do(lambda x: torch.softmax(x, axis) * x) if draw.maybe() else nn.Softmax(axis)


@block(*KINDS, often=1)
def standardized(draw: Draw, state: State) -> nn.Module:
    """Mean and deviation over axes of one sample, by hand."""
    axes = draw.pick(((1,), (-1,), tuple(range(1, len(state.kind)))))
    needs(state.seen[0][0].numel() > 1)

    def does(x: Tensor) -> Tensor:
        return (x - x.mean(axes, keepdim=True)) / (x.std(axes, keepdim=True, unbiased=False) + 1e-3)

    return Do(does)


@block(*KINDS)
def response_norm(draw: Draw, state: State) -> nn.Module:
    """Of local responses, or GRN of ConvNeXt V2."""
    if state.kind != "nchw" or draw.maybe():
        if state.rank == 0 or state.kind == "ntc":
            raise UnfitError("no places")
        return nn.LocalResponseNorm(draw.pick((3, 5)))
    gamma, beta = parameter(1, state.channels, 1, 1, scale=0.5), parameter(1, state.channels, 1, 1, scale=0.1)

    def does(x: Tensor, gamma: Tensor, beta: Tensor) -> Any:
        length = x.norm(p=2, dim=(2, 3), keepdim=True)
        return gamma * (x * (length / (length.mean(1, keepdim=True) + 1e-6))) + beta + x

    return Do(does, gamma=gamma, beta=beta)
