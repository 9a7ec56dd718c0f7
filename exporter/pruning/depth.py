"""Residual blocks that can be removed whole: what goes in reaches the output by additions alone."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from ...backends.base import Array
from ..sources.torch_module import call
from .groups import Group

if TYPE_CHECKING:
    from torch import Tensor, nn

# Steps on the way from a block's input to its output that leave the features what they are.
_ADDITIVE = (
    "Add", "Relu", "Hardtanh", "NativeLayerNorm", "NativeDropout", "Clone", "View", "UnsafeView", "Transpose",
    "Permute", "Unsqueeze", "Squeeze", "Alias", "ReshapeAlias", "ToCopy",
)  # fmt: skip


def residual_blocks(module: nn.Module, feed: Mapping[str, Array]) -> list[Group]:
    """The blocks, by name.

    A block is called once with a tensor and gives one of the same shape, to which its input is added. Of nested ones
    the outer counts, unless it holds several: then it is a stage or the whole trunk.
    """
    candidates = [name for name, call_ in _calls(module, feed).items() if _is_residual(*call_)]
    inner = {name: [c for c in candidates if c.startswith(f"{name}.")] for name in candidates}
    stages = {name for name, held in inner.items() if sum(1 for c in held if not _inside(c, held)) > 1}
    blocks = [name for name in candidates if name not in stages]
    outer = [name for name in blocks if not _inside(name, blocks)]
    return [Group(name=name, kind="block", units=1) for name in outer]


def _inside(name: str, others: list[str]) -> bool:
    return any(name.startswith(f"{other}.") for other in others)


def _calls(module: nn.Module, feed: Mapping[str, Array]) -> dict[str, tuple[nn.Module, tuple[Any, ...], Any]]:
    """Modules with children that were called once, tensor in and tensor of the same shape out, with their arguments."""
    import torch

    calls: dict[str, list[Any]] = {}
    hooks = []
    for name, child in module.named_modules():
        if name and any(True for _ in child.children()):

            def seen(block: nn.Module, args: Any, keywords: Any, output: Any, name: str = name) -> None:
                calls.setdefault(name, []).append((block, args, keywords, output))

            hooks.append(child.register_forward_hook(seen, with_kwargs=True))
    try:
        call(module, feed)
    finally:
        for hook in hooks:
            hook.remove()

    def fits(args: Any, output: Any) -> bool:
        tensors = bool(args) and isinstance(args[0], torch.Tensor) and isinstance(output, torch.Tensor)
        return tensors and args[0].is_floating_point() and args[0].shape == output.shape

    return {
        name: (made[0][0], made[0][1], made[0][2])
        for name, made in calls.items()
        if len(made) == 1 and fits(made[0][1], made[0][3])
    }


def _is_residual(block: nn.Module, args: tuple[Any, ...], keywords: Any) -> bool:
    """Whether a path of additive steps leads from the output back to the first argument, and something is computed."""
    import torch
    from torch import nn

    if not any(isinstance(child, nn.Linear | nn.modules.conv._ConvNd) for child in block.modules()):
        return False
    leaf = args[0].detach().clone().requires_grad_(True)
    with torch.enable_grad():
        return _reaches(block(leaf, *args[1:], **keywords), leaf)


def _reaches(output: Tensor, leaf: Tensor) -> bool:
    waiting, seen = [output.grad_fn], set()
    while waiting:
        step: Any = waiting.pop()
        if step is None or step in seen:
            continue
        seen.add(step)
        kind = step.name()
        if kind.endswith("AccumulateGrad"):
            if step.variable is leaf:
                return True
        elif kind.rstrip("0123456789").removesuffix("Backward") in _ADDITIVE:
            waiting.extend(following for following, _ in step.next_functions)
    return False
