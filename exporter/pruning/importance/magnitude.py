"""The size of a unit's weights in all layers it touches: Li et al., "Pruning Filters for Efficient ConvNets" (2017)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from ...sources.base import Source
from ..groups import Cut, Group

if TYPE_CHECKING:
    import numpy.typing as npt
    from torch import Tensor, nn


def score(source: Source, groups: Sequence[Group]) -> dict[str, npt.NDArray[np.float64]]:
    """Squared norms of the weights that go with each unit, each layer's relative to its mean, summed over layers."""
    assert source.module is not None
    return {group.name: norms(source.module, group) for group in groups}


def norms(module: nn.Module, group: Group) -> npt.NDArray[np.float64]:
    """The score of one group, by unit."""
    total = np.zeros(group.units)
    for place in group.cuts:
        layer: Any = module.get_submodule(place.module)
        if getattr(layer, "weight", None) is None or layer.weight.ndim < 2:
            continue  # a normalization's scale is another measure
        squares = by_channel(layer, place, layer.weight.detach().double().square())
        found = np.array([squares[list(unit)].sum() for unit in place.indices])
        total += found / (found.mean() or 1.0)
    return total


def by_channel(layer: nn.Module, place: Cut, values: Tensor) -> npt.NDArray[np.float64]:
    """Sums of the values, shaped as the layer's weight, along the axis that is cut."""
    axis = int(place.inputs)
    if getattr(layer, "transposed", False):
        axis = 1 - axis
    if values.shape[axis] == 1 < getattr(layer, "groups", 1):
        axis = 0  # a depthwise convolution has one axis of channels
    summed: npt.NDArray[np.float64] = values.movedim(axis, 0).flatten(1).sum(1).numpy()
    return summed
