"""Tensors of a file by name, and what of them a decoder takes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from ...errors import InputError
from .decoder import Tensor
from .weights import Floats


class Store(Protocol):
    """What holds tensors: safetensors, GGUF. It reads anew at each call."""

    shapes: Mapping[str, tuple[int, ...]]

    def read(self, name: str, rows: tuple[int, int] | None = None) -> Floats:
        """The tensor, or some of its rows, in float32, C-contiguous, the caller's own."""

    def digest(self) -> str:
        """Sha256 in hex of all that the files hold."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Fitted:
    """The `Checkpoint` of an architecture: the tensors that it has, by its own names.

    Attributes:
        names: in the store, by the architecture's.
        shapes: of the tensors as they are stored, by the architecture's names.
        unused: tensors of the store that the architecture does not compute with.
    """

    store: Store
    names: Mapping[str, str]
    shapes: Mapping[str, tuple[int, ...]]
    unused: tuple[str, ...] = ()

    def array(self, tensor: Tensor) -> Floats:
        """As `Checkpoint`.

        Raises:
            InputError: it is not in the checkpoint, or a file was damaged since.
        """
        if tensor.name not in self.names:
            raise InputError(f"The checkpoint has no tensor {tensor.name}.")
        within = tensor.rows if not (tensor.every or tensor.transposed) else None
        values = self.store.read(self.names[tensor.name], within)
        if within is None:
            values = np.ascontiguousarray(part_of(values, tensor))
        if tensor.plus:
            values += np.float32(tensor.plus)
        return values

    def stored(self, name: str) -> Floats:
        """A tensor as it is stored."""
        return self.store.read(self.names[name])

    def digest(self) -> str:
        """Sha256 in hex of the files."""
        return self.store.digest()


def part_of(values: Floats, tensor: Tensor) -> Floats:
    """What a `Tensor` is of the stored values, without what it adds: a view, but where rows are counted in groups."""
    turned = values.T if tensor.transposed else values
    if tensor.rows is None:
        return turned
    return turned[row_numbers(turned.shape[0], tensor)] if tensor.every else turned[slice(*tensor.rows)]


def row_numbers(count: int, tensor: Tensor) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    """Which of so many rows a `Tensor` has, in its order."""
    first, last = tensor.rows or (0, count)
    groups = np.arange(0, count, tensor.every or count, dtype=np.int64)
    return (groups[:, None] + np.arange(first, last, dtype=np.int64)).reshape(-1)
