"""What passes from block to block, and what a block is."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias, TypeVar

import numpy as np
import torch
from torch import Tensor, nn

_T = TypeVar("_T")
# Letters are axes: samples, channels, time or tokens, depth, height, width.
KINDS = ("nc", "nct", "nchw", "ncdhw", "ntc")
PLACED = ("nct", "nchw", "ncdhw")
# Values of one sample that a block may make: networks stay small.
_MOST = 40_000


class UnfitError(Exception):
    """A block does not fit what is there."""


class Draw:
    """Choices of one seed."""

    def __init__(self, *seed: int) -> None:
        self.rng = np.random.default_rng(seed)

    def pick(self, choices: Sequence[_T]) -> _T:
        return choices[int(self.rng.integers(len(choices)))]

    def maybe(self, share: float = 0.5) -> bool:
        return bool(self.rng.random() < share)

    def whole(self, low: int, high: int) -> int:
        """Both included."""
        return int(self.rng.integers(low, high + 1))


@dataclass(frozen=True, slots=True, kw_only=True)
class State:
    """The values between two blocks, seen at two sizes.

    Attributes:
        kind: one of `KINDS`.
        seen: two examples (2 samples, ...); their places differ where they are free.
    """

    kind: str
    seen: tuple[Tensor, Tensor]

    @property
    def channels(self) -> int:
        return int(self.seen[0].shape[self.axis])

    @property
    def axis(self) -> int:
        """Of the channels."""
        return self.kind.index("c")

    @property
    def places(self) -> tuple[int, ...]:
        """The sizes that are neither samples nor channels, of the first example."""
        return tuple(size for axis, size in enumerate(self.seen[0].shape) if axis not in (0, self.axis))

    @property
    def fixed(self) -> bool:
        return self.seen[0].shape == self.seen[1].shape

    @property
    def rank(self) -> int:
        """How many axes of places there are."""
        return len(self.places)

    def after(self, module: nn.Module, kind: str) -> State:
        """What the module makes of it.

        Raises:
            UnfitError: it makes nothing, too much, or what is no number or the same for all samples.
        """
        module.eval()
        try:
            with torch.no_grad():
                one, other = (module(x) for x in self.seen)
        except (RuntimeError, ValueError, IndexError) as error:
            raise UnfitError(str(error)) from error
        if one.dim() != len(kind) or not one.is_floating_point() or not 0 < one.numel() < 2 * _MOST:
            raise UnfitError(f"{tuple(one.shape)} is no {kind}")
        if not all(bool(torch.isfinite(y).all()) and y.std() > 1e-4 and y.abs().max() < 1e4 for y in (one, other)):
            raise UnfitError("no numbers, or all alike")
        if bool((one[0] - one[1]).abs().max() < 1e-4):
            raise UnfitError("all samples alike")
        return State(kind=kind, seen=(one, other))


Made: TypeAlias = tuple[nn.Module, str]
Make: TypeAlias = Callable[[Draw, State], "nn.Module | Made"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Block:
    """A way to make a module for what is there.

    Attributes:
        kinds: what it takes.
        make: the module, and the kind that it gives where that is another; raises UnfitError.
        often: its share among the others.
    """

    name: str
    kinds: tuple[str, ...]
    make: Make
    often: int

    def __call__(self, draw: Draw, state: State) -> tuple[nn.Module, State]:
        """The module, and what is behind it."""
        torch.manual_seed(draw.whole(0, 2**31))
        made = self.make(draw, state)
        module, kind = made if isinstance(made, tuple) else (made, state.kind)
        return module, state.after(module, kind)


BLOCKS: dict[str, Block] = {}


def block(*kinds: str, often: int = 2) -> Callable[[Make], Make]:
    """Register a function as a block of these kinds."""

    def register(make: Make) -> Make:
        name = make.__name__
        BLOCKS[name] = Block(name=name, kinds=kinds, make=make, often=often)
        return make

    return register


def names() -> list[str]:
    """Of all blocks, in an order of their own, each as often as it is to be drawn."""
    return [name for name in sorted(BLOCKS) for _ in range(BLOCKS[name].often)]


class Do(nn.Module):
    """A function as a module, with what it has: modules, parameters, buffers."""

    def __init__(self, does: Callable[..., Any], **parts: nn.Module | Tensor | None) -> None:
        super().__init__()
        self.does = does
        for name, part in parts.items():
            if isinstance(part, Tensor) and not isinstance(part, nn.Parameter):
                self.register_buffer(name, part)
            else:
                setattr(self, name, part)
        self.names = tuple(parts)

    def forward(self, x: Tensor) -> Any:
        return self.does(x, **{name: getattr(self, name) for name in self.names})

    def extra_repr(self) -> str:
        return self.does.__qualname__.partition(".")[0]


def groups_of(draw: Draw, *channels: int) -> int:
    """A number that divides all of them."""
    return draw.pick([g for g in (1, 1, 1, 2, 3, 4, *channels) if all(c % g == 0 for c in channels)])


def width(draw: Draw) -> int:
    """Of a layer."""
    return draw.pick((4, 6, 8, 8, 12, 16, 16, 24, 32))


def parameter(*shape: int, scale: float = 1.0) -> nn.Parameter:
    """Normal values."""
    return nn.Parameter(torch.randn(*shape) * scale)


def needs(condition: bool, why: str = "does not fit") -> None:
    """Raise UnfitError otherwise."""
    if not condition:
        raise UnfitError(why)
