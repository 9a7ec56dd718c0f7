"""The libraries that metrics come from, which a user may not have."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from ..errors import InputError

Array = npt.NDArray[Any]


def library(module: str, package: str) -> Any:
    """The module of a package.

    Raises:
        InputError: it is not installed.
    """
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise InputError(
            f"{package} is not installed, which this metric comes from.", hint="pip install 'edgepress[metrics]'"
        ) from error


def one_of(outputs: Mapping[str, Array] | Array, name: str | None) -> Array:
    """An output of a model by name; the first one where none is asked for, or the array itself.

    Raises:
        InputError: there is none of that name, or it holds NaN, which every library counts in its own way.
    """
    if not isinstance(outputs, Mapping):
        return _numbers(np.asarray(outputs), "The output")
    name = next(iter(outputs)) if name is None else name
    if name not in outputs:
        raise InputError(f"The model has no output {name!r}; it has {', '.join(outputs)}.", hint="Name one of these.")
    return _numbers(np.asarray(outputs[name]), f"The output {name!r}")


def _numbers(array: Array, what: str) -> Array:
    if array.dtype.kind == "f" and np.isnan(array).any():
        raise InputError(
            f"{what} holds NaN, which is neither right nor wrong.",
            hint="Look at the weights and at this sample; an engine in float16 may overflow where float32 does not.",
        )
    return array


def need_samples(count: int) -> None:
    """Refuse the mean of nothing.

    Raises:
        InputError: `add` was not called.
    """
    if not count:
        raise InputError("Nothing was given to this metric.", hint="Call add() for each batch before value.")
