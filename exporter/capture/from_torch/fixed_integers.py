"""Buffers of one whole number that forward only reads: their values are known, so that sizes may come of them."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from ...sources.base import Source
from ...sources.torch_module import call_for_good
from ...sources.undisturbed import undisturbed

if TYPE_CHECKING:
    from torch import Tensor, nn


@dataclass(frozen=True, slots=True)
class _Slot:
    """Where a module holds such a buffer, and how often it had been written into."""

    owner: nn.Module
    name: str
    buffer: Tensor
    value: int
    version: int

    def is_as_it_was(self) -> bool:
        """Nothing wrote into it, or put another in its place."""
        held = self.owner._buffers.get(self.name)
        return held is self.buffer and held._version == self.version and int(held.item()) == self.value


def with_fixed_integers(source: Source) -> Source | None:
    """The source with a module whose forward finds constants in the place of its integer buffers; None without such.

    torch.export takes a buffer for something that may change from call to call, and refuses a size or a branch that
    depends on it; a tensor that forward makes of a number it knows. Lengths of kernels and strides are kept in such
    buffers. One that forward writes into, seen by running it on the example, is state and stays what it is.
    """
    if source.module is None or source.program is not None:
        return None
    read = _only_read(source)
    return replace(source, module=_with_constants(source.module, read)) if read else None


def _only_read(source: Source) -> list[_Slot]:
    module = source.module
    assert module is not None
    slots = [
        _Slot(owner, name, buffer, int(buffer.item()), buffer._version)
        for owner in module.modules()
        for name, buffer in owner._buffers.items()
        if buffer is not None and _is_whole_number(buffer)
    ]
    with undisturbed(module, buffers=True):
        if slots:
            call_for_good(module, source.inputs)
        return [slot for slot in slots if slot.is_as_it_was()]


def _is_whole_number(buffer: Tensor) -> bool:
    return buffer.dim() == 0 and not buffer.is_floating_point() and not buffer.is_complex()


def _with_constants(module: nn.Module, slots: list[_Slot]) -> nn.Module:
    """A module of the same weights and names, with another forward of the same signature."""
    forward = module.forward

    @functools.wraps(forward)
    def with_constants(*args: Any, **kwargs: Any) -> Any:
        with _in_place(slots):
            return forward(*args, **kwargs)

    other: nn.Module = object.__new__(type(module))  # without __init__, which the module's own has run
    vars(other).update(vars(module))
    other.forward = with_constants
    return other


@contextlib.contextmanager
def _in_place(slots: list[_Slot]) -> Iterator[None]:
    """Inside, each slot holds a tensor that was made here, of a number."""
    import torch

    held = [slot.owner._buffers[slot.name] for slot in slots]  # while torch traces, not the buffers themselves
    try:
        for slot in slots:
            slot.owner._buffers[slot.name] = torch.tensor(slot.value, dtype=slot.buffer.dtype)
        yield
    finally:
        for slot, buffer in zip(slots, held, strict=True):
            slot.owner._buffers[slot.name] = buffer
