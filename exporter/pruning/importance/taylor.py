"""How much the loss would change: Molchanov et al., "Importance Estimation for Neural Network Pruning" (2019)."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import islice
from typing import TYPE_CHECKING, Any

import numpy as np

from ....errors import InputError
from ...sources.base import Source
from ...sources.torch_module import by_keyword
from ...training.data import training_data
from ...training.objective import checked_loss
from ..groups import Group
from .magnitude import by_channel

if TYPE_CHECKING:
    import numpy.typing as npt
    from torch import nn

# Gradients of this many training batches; more of them change the order of few units.
BATCHES = 8


def score(source: Source, groups: Sequence[Group]) -> dict[str, npt.NDArray[np.float64]]:
    """Mean over batches of the squared derivative of the loss by a gate on each unit.

    The derivative is the sum of weight times gradient over what reads the unit.

    Raises:
        InputError: faults of training() or loss(), or a loss that is not a finite number.
    """
    import torch

    module, loss = source.module, source.loss
    assert module is not None and loss is not None
    found = {group.name: np.zeros(group.units) for group in groups}
    frozen = [parameter for parameter in module.parameters() if not parameter.requires_grad]
    seen = 0
    try:
        module.requires_grad_(True)
        for feed, targets in islice(training_data(source, seed=0).batches(0), BATCHES):
            module.zero_grad(set_to_none=True)
            with torch.enable_grad():
                value = checked_loss(loss, _run(module, feed), targets)
                value.backward()  # type: ignore[no-untyped-call]
            if not bool(torch.isfinite(value)):
                raise InputError(f"loss() is {value.item()} on training batch {seen}, before anything was pruned.")
            seen += 1
            for group in groups:
                found[group.name] += _gates(module, group) ** 2
    finally:
        module.zero_grad(set_to_none=True)
        for parameter in frozen:
            parameter.requires_grad_(False)
    return {name: total / seen for name, total in found.items()}


def _run(module: nn.Module, feed: Any) -> Any:
    return module(**feed) if by_keyword(module, list(feed), "training()") else module(*feed.values())


def _gates(module: nn.Module, group: Group) -> npt.NDArray[np.float64]:
    total = np.zeros(group.units)
    for place in (place for place in group.cuts if place.inputs):
        layer: Any = module.get_submodule(place.module)
        if layer.weight.grad is not None:
            by_position = by_channel(layer, place, (layer.weight.detach() * layer.weight.grad).double())
            total += [by_position[list(unit)].sum() for unit in place.indices]
    return total
