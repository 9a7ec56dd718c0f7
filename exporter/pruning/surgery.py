"""Cutting units out of a module, and switching them off in place; both compute the same."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from .groups import Group, Removal

if TYPE_CHECKING:
    from torch import nn


def cut(module: nn.Module, groups: Sequence[Group], removal: Removal) -> nn.Module:
    """A copy of the module without the units; the module given is left alone."""
    smaller = copy.deepcopy(module)
    for (name, inputs), indices in _positions(groups, removal).items():
        layer = smaller.get_submodule(name)
        pruner = _pruner(layer)
        (pruner.prune_in_channels if inputs else pruner.prune_out_channels)(layer, sorted(indices))
    for group in groups:
        gone = len(removal.get(group.name, ()))
        for attribute in group.attributes if gone else ():
            owner = smaller.get_submodule(attribute.module)
            setattr(owner, attribute.name, getattr(owner, attribute.name) - attribute.per_unit * gone)
        if group.kind == "block" and gone:
            smaller = _without(smaller, group.name)
    return smaller


@contextmanager
def switched_off(module: nn.Module, groups: Sequence[Group], removal: Removal) -> Iterator[nn.Module]:
    """The module with nothing reading those units any more, and their blocks passed by, until the block ends."""
    import torch

    saved: list[tuple[Any, Any]] = []
    for (name, inputs), indices in _positions(groups, removal).items():
        if inputs:
            layer: Any = module.get_submodule(name)
            weight = layer.weight.data
            saved.append((layer.weight, weight))
            axis = 0 if getattr(layer, "transposed", False) else 1
            layer.weight.data = weight.index_fill(axis, torch.tensor(sorted(indices), device=weight.device), 0)
    blocks = [group.name for group in groups if group.kind == "block" and removal.get(group.name)]
    hooks = [module.get_submodule(name).register_forward_hook(_input, with_kwargs=True) for name in blocks]
    try:
        yield module
    finally:
        for parameter, weight in saved:
            parameter.data = weight
        for hook in hooks:
            hook.remove()


def channels(layer: nn.Module, *, inputs: bool) -> int:
    """How many channels a layer has on one side; one with a single axis has the same on both."""
    pruner = _pruner(layer)
    return int((pruner.get_in_channels if inputs else pruner.get_out_channels)(layer))


def _pruner(layer: nn.Module) -> Any:
    """The library's way to cut this kind of layer."""
    from torch_pruning import ops
    from torch_pruning.pruner.function import PrunerBox

    return PrunerBox[ops.module2type(layer)]


def _input(block: nn.Module, arguments: tuple[Any, ...], keywords: dict[str, Any], output: Any) -> Any:
    return arguments[0]


def _without(module: nn.Module, name: str) -> nn.Module:
    from .skip import Skip

    parent, _, last = name.rpartition(".")
    setattr(module.get_submodule(parent), last, Skip())
    return module


def _positions(groups: Sequence[Group], removal: Removal) -> dict[tuple[str, bool], set[int]]:
    """Positions to remove by layer and side; groups may meet in one layer that reads several of them."""
    found: dict[tuple[str, bool], set[int]] = {}
    for group in groups:
        for place in group.cuts:
            for unit in removal.get(group.name, ()):
                found.setdefault((place.module, place.inputs), set()).update(place.indices[unit])
    return found
