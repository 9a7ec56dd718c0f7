"""What a training is made of before its first step."""

from __future__ import annotations

import copy
import math
from typing import TYPE_CHECKING, Any

from ...errors import InputError
from ..recipe import TrainingSettings

if TYPE_CHECKING:
    from accelerate import Accelerator
    from torch import nn


def accelerator() -> Accelerator:
    """The processes and devices that `accelerate launch` or torchrun gave, else one process on the best device.

    Raises:
        InputError: they were told to divide the model, not the data.
    """
    import torch
    from accelerate import Accelerator, DistributedDataParallelKwargs

    # A head that the loss does not look at has no gradient, which data parallelism must be told of.
    handlers = [DistributedDataParallelKwargs(find_unused_parameters=True)]
    # Left to itself, accelerate takes processes that torchrun started on CPUs for unrelated ones.
    made = Accelerator(cpu=not torch.accelerator.is_available(), kwargs_handlers=handlers)
    kind = str(made.distributed_type.value)
    if kind != "NO" and not kind.startswith("MULTI_"):
        raise InputError(
            f"accelerate was told to use {kind}; edgepress trains with the whole model in each process.",
            hint="Launch with --multi_gpu, or with torchrun.",
        )
    return made


def trainable(student: nn.Module) -> nn.Module:
    """A copy; where every weight was frozen, as a loaded model's may be, none is.

    Raises:
        InputError: it cannot be copied, or has no weights.
    """
    try:
        copied = copy.deepcopy(student)
    except Exception as error:
        raise InputError(
            f"The model cannot be copied to be trained: {error}", hint="Make it a module that copy.deepcopy() copies."
        ) from error
    if not any(parameter.requires_grad for parameter in copied.parameters()):
        for parameter in copied.parameters():
            parameter.requires_grad_(parameter.is_floating_point())
    if not any(parameter.requires_grad for parameter in copied.parameters()):
        raise InputError(f"{type(student).__name__} has no weights, so there is nothing to train.")
    return copied


def optimizer(module: nn.Module, settings: TrainingSettings) -> Any:
    """AdamW; biases and norms do not decay."""
    import torch

    weights = [parameter for parameter in module.parameters() if parameter.requires_grad]
    groups = [
        {"params": [w for w in weights if w.ndim > 1], "weight_decay": settings.weight_decay},
        {"params": [w for w in weights if w.ndim <= 1], "weight_decay": 0.0},
    ]
    return torch.optim.AdamW([group for group in groups if group["params"]], lr=settings.learning_rate)


def rate(settings: TrainingSettings, done: int, steps: int) -> float:
    """The learning rate of the step after `done` of `steps`: a linear warm-up, then a half cosine to 0."""
    warm = math.ceil(settings.warmup * steps)
    if done < warm:
        return settings.learning_rate * (done + 1) / warm
    share = min(1.0, (done - warm) / max(steps - warm, 1))
    return settings.learning_rate * (1 + math.cos(math.pi * share)) / 2
