"""What a model loses without some of its units, before anything is trained again.

Statistics of batch normalizations belong to the whole model: behind a gap they are wrong by a shift and a scale that
the first steps of training take away, and the error that they make hides what was lost. They are taken anew on the
judging samples, for the whole model as well. Li et al., "EagleEye: Fast Sub-net Evaluation for Efficient Neural Network
Pruning" (2020), found that what is judged so predicts the accuracy after training.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from ...backends.base import Feed
from ..sources.torch_module import call_for_good, output_tensors
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

    The units are switched off in place, one group at a time; nothing stays changed.
    """
    expected = _outputs(module, feeds)
    found: dict[str, Loss] = {}
    for index, group in enumerate(groups):
        counts = sorted({max(1, round(share * group.units)) for share in SHARES}) if group.kind != "block" else [1]
        errors = []
        for count in counts:
            removal: Removal = {group.name: tuple(order[group.name][:count])}
            with switched_off(module, [group], removal) as less:
                errors.append(error(expected, _outputs(less, feeds)))
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


def _outputs(module: nn.Module, feeds: Sequence[Feed]) -> list[dict[str, Tensor]]:
    """Outputs with the statistics of these feeds; the module's own are back afterwards."""
    from torch import nn

    norms = [
        m for m in module.modules() if isinstance(m, nn.modules.batchnorm._BatchNorm) and m.running_var is not None
    ]
    saved = [(norm.running_mean, norm.running_var) for norm in norms]
    hooks = [norm.register_forward_pre_hook(_Statistics()) for norm in norms]
    try:
        for feed in feeds if norms else ():
            call_for_good(module, feed)
        for hook in hooks:
            hook.remove()
        return [output_tensors(module, feed) for feed in feeds]
    finally:
        for norm, (mean, variance), hook in zip(norms, saved, hooks, strict=True):
            norm.running_mean, norm.running_var = mean, variance
            hook.remove()


@dataclass(slots=True)
class _Statistics:
    """Sets a batch normalization's statistics to those of all it was given so far."""

    mean: Any = None
    square: Any = None
    seen: int = 0

    def __call__(self, norm: Any, arguments: tuple[Tensor, ...]) -> None:
        x = arguments[0].transpose(0, 1).flatten(1).double()  # a variance is a small difference of large squares
        count = x.shape[1]
        share = count / (self.seen + count)
        mean, square = x.mean(1), x.square().mean(1)
        self.mean = mean if self.seen == 0 else self.mean.lerp(mean, share)
        self.square = square if self.seen == 0 else self.square.lerp(square, share)
        self.seen += count
        if self.seen > 1:  # one value has no variance
            variance = (self.square - self.mean.square()).clamp_min(0)
            norm.running_mean, norm.running_var = self.mean.to(arguments[0]), variance.to(arguments[0])


def _between(counts: Sequence[int], errors: Sequence[float]) -> Loss:
    return lambda removed: float(np.interp(removed, counts, errors))
