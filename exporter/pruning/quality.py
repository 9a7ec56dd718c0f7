"""What a model loses without some of its units, before anything is trained again."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from ...backends.base import Feed
from ..sources.torch_module import output_tensors
from .groups import Group, Removal
from .surgery import switched_off

if TYPE_CHECKING:
    from torch import Tensor, nn

# Shares of a group's units at which its loss is measured; between them it is interpolated.
SHARES = (0.25, 0.5, 0.75)
Loss = Callable[[int], float]


def losses(
    module: nn.Module,
    groups: Sequence[Group],
    order: Mapping[str, Sequence[int]],
    feeds: Sequence[Feed],
    tick: Callable[[float], None] = lambda share: None,
) -> dict[str, Loss]:
    """For each group, the relative squared error of the outputs by the number of units removed, least important first.

    The units are switched off in place, one group at a time.
    """
    expected = [output_tensors(module, feed) for feed in feeds]
    found: dict[str, Loss] = {}
    for index, group in enumerate(groups):
        counts = sorted({max(1, round(share * group.units)) for share in SHARES}) if group.kind != "block" else [1]
        errors = []
        for count in counts:
            removal: Removal = {group.name: tuple(order[group.name][:count])}
            with switched_off(module, [group], removal) as less:
                errors.append(error(expected, [output_tensors(less, feed) for feed in feeds]))
        found[group.name] = _between([0, *counts], [0.0, *np.maximum.accumulate(errors)])
        tick((index + 1) / len(groups))
    return found


def error(expected: Sequence[Mapping[str, Tensor]], outputs: Sequence[Mapping[str, Tensor]]) -> float:
    """Squared difference over squared size, the mean over the float outputs; 0 where equal."""
    shares = []
    for name in (name for name, tensor in expected[0].items() if tensor.is_floating_point()):
        signal = sum(float(one[name].double().square().sum()) for one in expected)
        pairs = zip(expected, outputs, strict=True)
        noise = sum(float((one[name] - two[name]).double().square().sum()) for one, two in pairs)
        shares.append(noise / signal if signal else 0.0)
    return float(np.mean(shares)) if shares else 0.0


def _between(counts: Sequence[int], errors: Sequence[float]) -> Loss:
    return lambda removed: float(np.interp(removed, counts, errors))
