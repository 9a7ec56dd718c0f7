"""The result of a module, put together anew from tensors by name, as its user's loss wants it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True, slots=True)
class _Leaf:
    name: str


class ResultForm:
    """Tensors by name in the structure of a module's own result."""

    def __init__(self, result: Any, names: Sequence[str]) -> None:
        """Keep the structure.

        Args:
            result: of the module.
            names: of its tensors, in their order.
        """
        left = list(names)
        self._built = _emptied(result, left)

    def __call__(self, tensors: Mapping[str, Tensor]) -> Any:
        """The result with these tensors."""
        return _filled(self._built, tensors)


def _emptied(value: Any, left: list[str]) -> Any:
    """The structure with the next name in place of each tensor: (type, parts) of what holds others."""
    import torch

    if isinstance(value, torch.Tensor):
        return _Leaf(left.pop(0))
    if isinstance(value, Mapping):
        return type(value), {key: _emptied(part, left) for key, part in value.items()}
    if isinstance(value, tuple | list):
        return type(value), [_emptied(part, left) for part in value]
    return value


def _filled(built: Any, tensors: Mapping[str, Tensor]) -> Any:
    if isinstance(built, _Leaf):
        return tensors[built.name]
    if not isinstance(built, tuple):
        return built
    kind, parts = built
    if isinstance(parts, dict):
        filled = {key: _filled(part, tensors) for key, part in parts.items()}
        return kind(filled) if kind is dict else kind(**filled)
    items = [_filled(part, tensors) for part in parts]
    return kind(*items) if hasattr(kind, "_fields") else kind(items)
