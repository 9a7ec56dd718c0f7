"""Random weights, made such that something of the input is left at the output."""

from __future__ import annotations

from typing import Any

from .model import Feed
from .steadiness import forward

# Norms that scale by less let nothing of the input through a few layers: their biases are all that is left.
_SCALE_OF_NOTHING = 0.2


def enliven(module: Any) -> None:
    """What training would leave, roughly: scales of 1 or 0, alike everywhere, switch branches off or hide a mix-up.

    Norms of about 0 become about 1, and all that are alike get noise; weights of a tiny network that were drawn for a
    wide one are raised to a variance of 1/fan-in: nothing of the input would be left at the output. Depthwise kernels
    get a mean, so that a smooth picture passes: zero-mean noise takes it away, and the norms behind raise what rounding
    left (torch itself keeps 9 dB of a random MobileNetV2 where only its input is rounded to 8 bits, 25 dB so).
    """
    import torch

    with torch.no_grad():
        for norm in (m for m in module.modules() if isinstance(m, torch.nn.modules.batchnorm._BatchNorm)):
            if norm.weight is not None and bool((norm.weight.abs() < _SCALE_OF_NOTHING).all()):
                norm.weight += 1
        for kernel in (m.weight for m in module.modules() if isinstance(m, torch.nn.Conv2d) and m.groups > 1):
            if kernel.shape[1] == 1 and kernel[0].numel() > 1:
                kernel += kernel.std()
        for parameter in (p for p in module.parameters() if p.is_floating_point() and p.numel() > 1):
            least = (parameter.numel() / len(parameter)) ** -0.5 / 2
            if bool((parameter == parameter.ravel()[0]).all()):
                parameter += 0.1 * torch.randn_like(parameter)
            elif parameter.dim() > 1 and 0 < parameter.std() < least:
                parameter *= 2 * least / parameter.std()


def settle(module: Any, feeds: list[Feed]) -> None:
    """Statistics of batch norms as training would leave them: random weights blow activations up without."""
    import torch

    norms = [m for m in module.modules() if isinstance(m, torch.nn.modules.batchnorm._BatchNorm)]
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None
        norm.train()
    for feed in feeds if norms else ():
        forward(module, feed)
    module.eval()
