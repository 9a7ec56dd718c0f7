"""Why an axis that was declared free cannot be, in the user's names."""

from __future__ import annotations

import inspect
import re

from ....errors import InputError
from ...sources.base import Source

# As torch.export says it. Of `forward(self, *tensors)` an input has a number.
_FIXED = re.compile(
    r"inferred a static shape of (\d+) for dimension inputs\['(\w+)'\](?:\[(\d+)\])?\.shape\[(\d+)\]", re.MULTILINE
)

_POOL = (
    "Where it has no such number: torch 2.13 fixes a length that a MaxPool1d reads, which an nn.MaxPool2d of "
    "x.unsqueeze(2) leaves free."
)


def fixed_size(name: str, tensor: str, axis: int, size: int) -> InputError:
    """The model has a size in it that should be free."""
    return InputError(
        f"Axis {name!r} (axis {axis} of {tensor!r}) cannot stay free: the model fixes it to {size}.",
        hint=f"Write forward without that number (use {tensor}.shape[{axis}], and no loop over that axis), or do not "
        "declare the axis free.",
    )


def fixed_by_torch(source: Source, text: str) -> InputError | None:
    """What torch.export says of a size, in the names of the source; None where it says nothing of one."""
    if (found := _FIXED.search(text)) is None:
        return None
    size, parameter, number, axis = found.groups()
    if parameter not in source.inputs:
        parameter = list(source.inputs)[int(number) if number else _position(source, parameter)]
    name = source.dynamic.get(parameter, {}).get(int(axis))
    if name is None:
        return None
    fixed = fixed_size(name, parameter, int(axis), int(size))
    return InputError(fixed.message, hint=f"{fixed.hint} {_POOL}") if _pools_a_length(source) else fixed


def _pools_a_length(source: Source) -> bool:
    from torch import nn

    assert source.module is not None
    return any(isinstance(child, nn.MaxPool1d) for child in source.module.modules())


def _position(source: Source, parameter: str) -> int:
    assert source.module is not None
    return list(inspect.signature(source.module.forward).parameters).index(parameter)
