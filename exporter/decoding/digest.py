"""A digest of the weights as they are written, taken while they pass."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt

from ..language.decoder import Linear, Tensor
from ..language.weights import DecoderWeights, Floats, Integers, Matrix

M = TypeVar("M", Floats, Matrix)


@dataclass(frozen=True, slots=True, kw_only=True)
class Digesting:
    """Weights that note the sha256 of each tensor that is asked for; the order does not matter."""

    weights: DecoderWeights
    seen: dict[str, str] = field(default_factory=dict)

    def array(self, tensor: Tensor) -> Floats:
        """As `DecoderWeights`."""
        return self._noted(str(tensor), self.weights.array(tensor))

    def matrix(self, linear: Linear) -> Matrix:
        """As `DecoderWeights`."""
        return self._noted(linear.name, self.weights.matrix(linear))

    def table(self) -> Matrix:
        """As `DecoderWeights`."""
        return self._noted("embedding", self.weights.table())

    @property
    def digest(self) -> str:
        """Sha256 in hex of all that was asked for."""
        lines = (f"{name} {digest}\n" for name, digest in sorted(self.seen.items()))
        return hashlib.sha256("".join(lines).encode()).hexdigest()

    def _noted(self, name: str, matrix: M) -> M:
        if name not in self.seen:
            self.seen[name] = _sha256(matrix)
        return matrix


def _sha256(matrix: Matrix) -> str:
    total = hashlib.sha256()
    arrays: list[npt.NDArray[Any]]
    if isinstance(matrix, Integers):
        arrays = [matrix.codes, matrix.scales, *([] if matrix.zeros is None else [matrix.zeros])]
        total.update(str(matrix.grid).encode())
    else:
        arrays = [matrix]
    for array in arrays:
        total.update(f"{array.dtype} {array.shape}".encode())
        total.update(np.ascontiguousarray(array).data)
    return total.hexdigest()
