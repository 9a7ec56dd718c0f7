"""A module is the same after a call as before, whatever its forward notes down in it."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import nn


@contextlib.contextmanager
def undisturbed(module: nn.Module, *, buffers: bool = False) -> Iterator[None]:
    """Inside, the module may run; afterwards its attributes, and those of its children, are what they were.

    A forward that keeps a table of the last shape, say, would leave the example's sizes in it, and an exporter would
    take them for constants.

    Args:
        module: its parameters are the same objects throughout.
        buffers: put back the values of buffers that were changed in place, too; that takes a copy of them.
    """
    attributes = {child: _copied(vars(child)) for child in module.modules()}
    values = {buffer: buffer.clone() for buffer in module.buffers()} if buffers else {}
    try:
        yield
    finally:
        for child, before in attributes.items():
            _restore(vars(child), before)
        for buffer, value in values.items():
            buffer.data.copy_(value)


def _copied(attributes: dict[str, Any]) -> dict[str, tuple[Any, Any]]:
    """Each attribute, and a copy of what it holds where that is a plain container."""
    return {
        name: (value, value.copy() if isinstance(value, dict | list | set) else None)
        for name, value in attributes.items()
    }


def _restore(attributes: dict[str, Any], before: dict[str, tuple[Any, Any]]) -> None:
    for name in attributes.keys() - before.keys():
        del attributes[name]
    for name, (value, held) in before.items():
        if isinstance(value, list):
            value[:] = held
        elif isinstance(value, dict | set):
            value.clear()
            value.update(held)
        attributes[name] = value
