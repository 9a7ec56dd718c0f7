"""What a student is trained towards: the teacher's outputs, and the user's labels."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from ...errors import InputError
from ..sources import user_errors

if TYPE_CHECKING:
    from torch import Tensor

Kind: TypeAlias = Literal["scores", "probabilities", "directions", "values"]
# Lengths and sums of float32 outputs that a softmax or a normalization made are 1 within rounding.
_ROUNDING = 1e-3


@dataclass(frozen=True, slots=True, kw_only=True)
class Output:
    """One output of the teacher, what it holds, and the axis of its classes or components."""

    name: str
    kind: Kind
    axis: int

    def distance(self, student: Tensor, teacher: Tensor, temperature: float) -> Tensor:
        """How far the student's output is from the teacher's, a scalar.

        Classes: KL divergence of the softened distributions, times the squared temperature so that its gradient keeps
        its size (Hinton et al. 2015, section 2). Directions: one minus the cosine. Values: squared difference over the
        variance of the teacher's, so that outputs of any scale weigh the same.
        """
        from torch.nn import functional

        student, teacher = student.float(), teacher.float()
        if self.kind == "directions":
            return (1 - functional.cosine_similarity(student, teacher, dim=self.axis)).mean()
        if self.kind == "values":
            return relative_error(student, teacher)
        if self.kind == "probabilities":
            student, teacher = (x.clamp_min(1e-8).log() for x in (student, teacher))
        soft = [functional.log_softmax(x / temperature, dim=self.axis) for x in (student, teacher)]
        divergence = functional.kl_div(soft[0], soft[1], reduction="none", log_target=True).sum(dim=self.axis)
        return divergence.mean() * temperature**2

    def sentence(self, temperature: float) -> str:
        """The term in words."""
        how = {
            "scores": f"soft labels at temperature {temperature:g}",
            "probabilities": f"soft labels at temperature {temperature:g}",
            "directions": "cosine with the teacher's",
            "values": "relative squared difference from the teacher's",
        }
        return f"{how[self.kind]} on `{self.name}`"


def outputs_to_follow(teacher: Mapping[str, Tensor], targets: Any) -> tuple[Output, ...]:
    """What each of the teacher's float outputs holds.

    Class scores are known by integer targets of the output's shape without its class axis, or by the name `logits`;
    probabilities by their sum, directions (embeddings of length 1) by their length. Anything else is values, where the
    squared difference serves scores too: it is the limit of soft labels at high temperature (Hinton et al. 2015,
    section 2.1).

    Raises:
        InputError: no output is of a float type.
    """
    outputs = tuple(
        _output(name, tensor, list(_integers(targets)))
        for name, tensor in teacher.items()
        if tensor.is_floating_point() and tensor.numel()
    )
    if not outputs:
        raise InputError("The model gives no float output that a student could follow.")
    return outputs


def _output(name: str, tensor: Tensor, labels: list[Tensor]) -> Output:
    for axis in dict.fromkeys((1, tensor.ndim - 1)):
        if tensor.ndim > 1 and any(_labels_fit(tensor, axis, label) for label in labels):
            return Output(name=name, kind="scores", axis=axis)
    if tensor.ndim < 2 or tensor.shape[-1] < 2:
        return Output(name=name, kind="values", axis=-1)
    if name.rpartition("_")[2] == "logits":
        return Output(name=name, kind="scores", axis=-1)
    if bool((tensor >= 0).all()) and _is_one(tensor.sum(dim=-1)):
        return Output(name=name, kind="probabilities", axis=-1)
    if _is_one(tensor.norm(dim=-1)):
        return Output(name=name, kind="directions", axis=-1)
    return Output(name=name, kind="values", axis=-1)


def _labels_fit(tensor: Tensor, axis: int, labels: Tensor) -> bool:
    rest = (*tensor.shape[:axis], *tensor.shape[axis + 1 :])
    return labels.shape == rest and tensor.shape[axis] > max(1, int(labels.max()))


def _is_one(sizes: Tensor) -> bool:
    return bool(((sizes - 1).abs() < _ROUNDING).all())


def _integers(targets: Any) -> Iterator[Tensor]:
    """The integer tensors in the user's targets, however nested."""
    import torch

    if isinstance(targets, torch.Tensor):
        if targets.numel() and targets.dtype in (torch.int64, torch.int32, torch.int16, torch.uint8):
            yield targets
    elif isinstance(targets, Mapping):
        for value in targets.values():
            yield from _integers(value)
    elif isinstance(targets, tuple | list):
        for value in targets:
            yield from _integers(value)


def relative_error(student: Tensor, teacher: Tensor) -> Tensor:
    """Mean squared difference over the variance of the teacher's values."""
    from torch.nn import functional

    return functional.mse_loss(student, teacher) / teacher.var(unbiased=False).clamp_min(1e-12)


def checked_loss(loss: Callable[[Any, Any], Tensor], result: Any, targets: Any) -> Tensor:
    """The user's loss of a module's result.

    Raises:
        InputError: it raised, or gave anything but a float scalar that depends on the outputs.
    """
    import torch

    with user_errors("loss()"):
        value: Any = loss(result, targets)
    if not isinstance(value, torch.Tensor) or value.numel() != 1 or not value.is_floating_point():
        found = (
            f"a tensor of shape {tuple(value.shape)}, {str(value.dtype).removeprefix('torch.')}"
            if isinstance(value, torch.Tensor)
            else f"a {type(value).__name__}"
        )
        raise InputError(f"loss() returns {found}; expected a float scalar tensor.", hint="Return the mean over it.")
    if not value.requires_grad:
        raise InputError(
            "loss() returns a tensor that does not depend on the outputs, so nothing can be learned from it.",
            hint="Compute it with torch from the outputs, without .detach(), .item() or numpy.",
        )
    return value.reshape(())
