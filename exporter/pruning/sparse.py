"""2:4 sparsity: two zeros in each four weights along the input channels, which newer tensor cores skip."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any

from ..graphs.sparsity import GROUP, ZEROS

if TYPE_CHECKING:
    from torch import Tensor, nn


def sparsify(module: nn.Module, kept: Callable[[str], bool]) -> tuple[Callable[[nn.Module], None], dict[str, str]]:
    """Zero the two smallest of each four weights of every convolution and linear layer that has fours.

    Args:
        module: changed in place.
        kept: whether a module of this name is left alone.

    Returns:
        What zeroes the same weights again, in this module or a copy of it, and why other layers stay dense, by name.
    """
    from torch import nn

    masks: dict[str, Tensor] = {}
    dense: dict[str, str] = {}
    for name, layer in module.named_modules():
        if not isinstance(layer, nn.Linear | nn.Conv1d | nn.Conv2d | nn.Conv3d):
            continue
        reason = "it is to be kept" if kept(name) else _no_fours(layer)
        if reason:
            dense[name] = reason
        else:
            masks[f"{name}.weight" if name else "weight"] = _mask(layer.weight.detach())
    restore = partial(_apply, masks=masks)
    restore(module)
    return restore, dense


def _no_fours(layer: Any) -> str:
    channels = layer.weight.shape[1]
    if getattr(layer, "groups", 1) > 1:
        return "it is a grouped convolution"
    return f"its {channels} input channels are not divisible by {GROUP}" if channels % GROUP else ""


def _mask(weight: Tensor) -> Tensor:
    """True for the two largest of each four along axis 1, the input channels of both kinds of layers."""
    import torch

    last = weight.movedim(1, -1)
    fours = last.abs().reshape(*last.shape[:-1], -1, GROUP)
    largest = fours.topk(GROUP - ZEROS, dim=-1).indices
    mask = torch.zeros_like(fours, dtype=torch.bool).scatter_(-1, largest, True)
    return mask.reshape(last.shape).movedim(-1, 1).contiguous()


def _apply(module: nn.Module, masks: Mapping[str, Tensor]) -> None:
    import torch

    parameters = dict(module.named_parameters())
    with torch.no_grad():
        for name, mask in masks.items():
            parameters[name].mul_(mask.to(parameters[name].device))
