"""How many units each group loses: the steps that save most for the least loss, until enough MACs are gone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from .groups import Group, Removal
from .macs import Macs
from .quality import Loss
from .surgery import channels

if TYPE_CHECKING:
    from torch import nn

# A step that would remove this much more than was asked, as a share of all MACs, waits for smaller ones.
SLACK = 0.03
# Below this difference of relative error, steps are taken for equally harmless.
HARMLESS = 1e-6


@dataclass(frozen=True, slots=True, kw_only=True)
class Width:
    """What one group takes from one axis of a layer: positions for each unit, of so many in all."""

    group: str
    axis: bool
    per_unit: float
    total: int


@dataclass(slots=True, kw_only=True)
class Chooser:
    """Narrows groups step by step; the state is how many units each of them keeps.

    Attributes:
        order: the units of each group, least important first.
        losses: relative error of the outputs by units removed.
        gains: milliseconds saved by a unit, by group; None counts MACs instead.
        multiple: what channel counts are rounded to.
    """

    module: nn.Module
    groups: Sequence[Group]
    macs: Macs
    order: Mapping[str, Sequence[int]]
    losses: Mapping[str, Loss]
    gains: Mapping[str, float] | None
    multiple: int
    kept: dict[str, int] = field(default_factory=dict)
    _touching: dict[str, list[Width]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Start with all units, and look up which groups each layer's MACs depend on."""
        self.kept = {group.name: group.units for group in self.groups}
        for group in self.groups:
            for place in group.cuts:
                total = sum(len(unit) for unit in place.indices)
                layer = self.module.get_submodule(place.module)
                size = channels(layer, inputs=place.inputs)
                width = Width(group=group.name, axis=place.inputs, per_unit=total / group.units, total=size)
                self._touching.setdefault(place.module, []).append(width)
            if group.core is not None:
                core = Width(group=group.name, axis=False, per_unit=1, total=group.units)
                self._touching.setdefault(group.core, []).append(core)

    def removed(self) -> float:
        """The share of MACs that is gone."""
        return 1 - sum(self._left(name, macs) for name, macs in self.macs.own.items()) / self.macs.total

    def narrow(self, share: float) -> bool:
        """Take steps until at least this share is gone; False where there are not enough.

        Where the steps are so coarse that much more went, each group is tried as the first to lose something, and what
        comes closest is taken.
        """
        start = dict(self.kept)
        if not self._descend(share):
            return False
        best = dict(self.kept)
        for group in self.groups if self.removed() > share + SLACK else ():
            self.kept = dict(start)
            smaller = [width for width in group.widths(self.multiple) if width < start[group.name]]
            self.kept[group.name] = smaller[0] if smaller else start[group.name]
            if self._descend(share) and self.removed() < self._removed_with(best):
                best = dict(self.kept)
        self.kept = best
        return True

    def _descend(self, share: float) -> bool:
        while self.removed() < share:
            step = self._best(share)
            if step is None:
                return False
            self.kept[step[0].name] = step[1]
        self._give_back(share)
        return True

    def _removed_with(self, kept: dict[str, int]) -> float:
        now, self.kept = self.kept, kept
        try:
            return self.removed()
        finally:
            self.kept = now

    def removal(self) -> Removal:
        """The units to remove."""
        gone = {group.name: group.units - self.kept[group.name] for group in self.groups}
        return {name: tuple(self.order[name][:count]) for name, count in gone.items() if count and not self._moot(name)}

    def _best(self, share: float) -> tuple[Group, int] | None:
        """The step with the highest saving per loss of those that do not overshoot, else the smallest one."""
        steps = []
        before = self.removed()
        for group in self.groups:
            widths = group.widths(self.multiple)
            smaller = [width for width in widths if width < self.kept[group.name]]
            if not smaller or self._moot(group.name):
                continue
            saved = self._share_without(group.name, smaller[0]) - before
            if saved > 0:
                steps.append((self._worth(group, smaller[0], saved), saved, group, smaller[0]))
        if not steps:
            return None
        fitting = [step for step in steps if before + step[1] <= share + SLACK]
        chosen = max(fitting, key=lambda s: s[0]) if fitting else min(steps, key=lambda s: s[1])
        return chosen[2], chosen[3]

    def _worth(self, group: Group, kept: int, saved: float) -> tuple[float, float]:
        """Saving over loss of a step: of time where that is known, then of MACs, which decide where none was seen.

        The error of outputs that are wrong already hardly grows, so a step bears at least its share of the whole.
        """
        gone, after = group.units - self.kept[group.name], group.units - kept
        whole = self.losses[group.name](after)
        harm = max(HARMLESS, whole - self.losses[group.name](gone), whole * (after - gone) / after)
        time = 0.0 if self.gains is None else self.gains[group.name] * (self.kept[group.name] - kept)
        return time / harm, saved / harm

    def _give_back(self, share: float) -> None:
        """Undo steps that turned out not to be needed, the most harmful first."""
        for group in sorted(self.groups, key=lambda g: -self.losses[g.name](g.units - self.kept[g.name])):
            for wider in sorted(width for width in group.widths(self.multiple) if width > self.kept[group.name]):
                if self._share_without(group.name, wider) < share:
                    break
                self.kept[group.name] = wider

    def _share_without(self, name: str, kept: int) -> float:
        return self._removed_with({**self.kept, name: kept})

    def _left(self, name: str, macs: int) -> float:
        if self._in_gone_block(name):
            return 0.0
        shares = {False: 1.0, True: 1.0}
        for width in self._touching.get(name, ()):
            gone = self._units(width.group) - self.kept[width.group]
            shares[width.axis] -= gone * width.per_unit / width.total
        return macs * shares[False] * shares[True]

    def _units(self, name: str) -> int:
        return next(group.units for group in self.groups if group.name == name)

    def _in_gone_block(self, module: str) -> bool:
        gone = (g.name for g in self.groups if g.kind == "block" and not self.kept[g.name])
        return any(module == name or module.startswith(f"{name}.") for name in gone)

    def _moot(self, name: str) -> bool:
        """All that the group changes lies in blocks that are gone."""
        group = next(group for group in self.groups if group.name == name)
        return group.kind != "block" and all(self._in_gone_block(module) for module in group.modules)
