"""Widths that a recipe gives: checked against the groups of a model, and turned into what goes; nothing is ranked."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from ...errors import InputError
from ...profiles.reading.near import did_you_mean
from .groups import Found, Group, Removal

ANEW = "Type --prune SHARE, or delete the table `pruned`, to have widths chosen anew."


def named_groups(widths: Mapping[str, int], found: Found, multiple: int) -> tuple[Group, ...]:
    """The groups that the widths are of, in the model's order.

    Args:
        widths: units that each group keeps, by its name.
        found: what can be removed from the model, and why not the rest.
        multiple: what channel counts are rounded to.

    Raises:
        InputError: a name of no group, of one that must stay, or a width that it cannot have.
    """
    groups = {group.name: group for group in found.groups}
    for name, width in widths.items():
        if name in found.kept:
            raise InputError(f"`pruned` names {name}, which cannot be pruned: {found.kept[name]}.", hint=ANEW)
        if name not in groups:
            known = did_you_mean(name, groups, 1, otherwise="The groups are {}.")
            raise InputError(f"`pruned` names {name}, which is no group of the model.", hint=f"{known} {ANEW}")
        _check(groups[name], width, multiple)
    return tuple(group for group in found.groups if group.name in widths)


def removal_of(widths: Mapping[str, int], groups: Sequence[Group], order: Mapping[str, Sequence[int]]) -> Removal:
    """The units that go so that each group keeps its width, the least important ones of the order."""
    return {group.name: tuple(order[group.name][: group.units - widths[group.name]]) for group in groups}


def _check(group: Group, width: int, multiple: int) -> None:
    if group.kind == "block":
        expected, possible = "0, since a block goes whole or stays out of the table", width == 0
    else:
        step = multiple // math.gcd(multiple, group.size)
        expected = f"less, and a positive multiple of {step}"
        possible = 0 < width < group.units and width % step == 0
    if not possible:
        has = "a block" if group.kind == "block" else f"{group.units} {group.kind}"
        raise InputError(f"`pruned` leaves {width} of {group.name}, which is {has}; expected {expected}.", hint=ANEW)
