"""What can be removed from a module: channels, attention heads and whole residual blocks, as pure data."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, slots=True, kw_only=True)
class Cut:
    """What removing units of a group takes from one layer.

    Attributes:
        module: name of the layer.
        inputs: its input channels are cut; otherwise its output channels, or the one axis that it has.
        indices: positions along that axis, for each unit of the group.
    """

    module: str
    inputs: bool
    indices: tuple[tuple[int, ...], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Attribute:
    """A number that a module keeps of its own width and that must follow the cut (`num_heads`)."""

    module: str
    name: str
    per_unit: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Group:
    """Units that can be removed one by one, each from all layers at once.

    Attributes:
        name: of the layer that makes the channels; of the block; of the attention, or of its first layer where the
            whole attention is a block too.
        kind: a unit is a channel, an attention head, or the one block itself.
        units: how many there are.
        size: channels of a unit.
        cuts: the layers that a unit is taken from; none for a block, which is replaced by its input.
        attributes: numbers that follow.
        core: the module whose own products (those of attention) shrink with the units.
    """

    name: str
    kind: Literal["channels", "heads", "block"]
    units: int
    size: int = 1
    cuts: tuple[Cut, ...] = ()
    attributes: tuple[Attribute, ...] = ()
    core: str | None = None

    def widths(self, multiple: int) -> tuple[int, ...]:
        """Numbers of units that may be kept, falling: all, then those with a round number of channels."""
        if self.kind == "block":
            return (1, 0)
        fewest = max(1, -(-self.units // LEAST_KEPT))
        round_ones = [k for k in range(self.units - 1, fewest - 1, -1) if k * self.size % multiple == 0]
        return (self.units, *round_ones[:: -(-len(round_ones) // MOST_WIDTHS) or 1])

    @property
    def modules(self) -> tuple[str, ...]:
        """Names of all modules that it changes."""
        return (self.name,) if self.kind == "block" else tuple(dict.fromkeys(cut.module for cut in self.cuts))


# A layer keeps at least this part of its units, 1 / LEAST_KEPT: below, what one measured at half of them says little.
LEAST_KEPT = 4

# A wide layer offers this many widths at most; finer steps would only take time.
MOST_WIDTHS = 16

# Units to remove, by group.
Removal = Mapping[str, tuple[int, ...]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """What can be removed, and what cannot: the reason by name."""

    groups: tuple[Group, ...]
    kept: Mapping[str, str]
