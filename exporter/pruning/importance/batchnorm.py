"""The scale that batch normalization learned: Liu et al., "Learning Efficient ConvNets through Network Slimming"."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from ...sources.base import Source
from ..groups import Group
from .magnitude import norms

if TYPE_CHECKING:
    import numpy.typing as npt


def score(source: Source, groups: Sequence[Group]) -> dict[str, npt.NDArray[np.float64]]:
    """Absolute scale of each unit, each layer's relative to its mean; of groups without any, the weights' norm."""
    from torch import nn

    assert source.module is not None
    found = {}
    for group in groups:
        scales = []
        for place in group.cuts:
            layer = source.module.get_submodule(place.module)
            if isinstance(layer, nn.modules.batchnorm._BatchNorm) and layer.affine:
                scale = layer.weight.detach().double().abs().numpy()
                by_unit = np.array([scale[list(unit)].mean() for unit in place.indices])
                scales.append(by_unit / (by_unit.mean() or 1.0))
        found[group.name] = np.sum(scales, axis=0) if scales else norms(source.module, group)
    return found
