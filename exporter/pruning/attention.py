"""Where attention runs in a module, with how many heads, and which numbers the modules keep of that."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

from ...backends.base import Array
from ..sources.torch_module import call
from .groups import Attribute

if TYPE_CHECKING:
    from torch import nn

# Operations through which torch-pruning sees the products of attention.
PRODUCTS = re.compile(r"(Softmax|Bmm|Baddbmm|ScaledDotProduct)", re.IGNORECASE)


def attention_heads(module: nn.Module, feed: Mapping[str, Array]) -> dict[str, int]:
    """Number of heads by the module whose forward runs a softmax over heads, or fused attention, on this feed."""
    from torch.overrides import TorchFunctionMode

    running: list[str] = []
    found: dict[str, int] = {}

    class Watch(TorchFunctionMode):
        """Looks at the operands of attention; (batch, heads, ...) in both forms."""

        def __torch_function__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
            name = getattr(function, "__name__", "")
            if name in ("softmax", "scaled_dot_product_attention") and args and getattr(args[0], "ndim", 0) == 4:
                found[running[-1] if running else ""] = int(args[0].shape[1])
            return function(*args, **(kwargs or {}))

    with ExitStack() as hooks:
        for name, child in module.named_modules():
            enter = child.register_forward_pre_hook(lambda *_, name=name: running.append(name))
            leave = child.register_forward_hook(lambda *_: running.pop() and None)
            hooks.callback(enter.remove)
            hooks.callback(leave.remove)
        with Watch():
            call(module, feed)
    return found


def nearest(name: str, attentions: Mapping[str, int]) -> str | None:
    """The attention that shares most of its path with a layer."""
    parts = name.split(".")

    def shared(other: str) -> int:
        same = 0
        for a, b in zip(parts, other.split("."), strict=False):
            if a != b:
                break
            same += 1
        return same

    return max(attentions, key=shared, default=None)


def followers(module: nn.Module, attention: str, heads: int, size: int) -> Iterator[tuple[Attribute, ...]]:
    """Guesses at the numbers that must follow when heads go: with the widths, the head counts alone, none.

    A count of heads is recognized by its value and by `head` in its name; a width by its value, heads times size.
    """
    owners = [attention, attention.rpartition(".")[0]] if attention else [attention]
    counts, widths = [], []
    for owner in dict.fromkeys(owners):
        for name, value in vars(module.get_submodule(owner)).items():
            if isinstance(value, bool) or not isinstance(value, int):
                continue
            if value == heads and "head" in name and not re.search(r"size|dim", name):
                counts.append(Attribute(module=owner, name=name, per_unit=1))
            elif value == heads * size and owner == attention:
                widths.append(Attribute(module=owner, name=name, per_unit=size))
    yield from dict.fromkeys(((*counts, *widths), tuple(counts), ()))
