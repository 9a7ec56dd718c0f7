"""Sums of floats that do not depend on the order of addition.

A float32 is cut into integer limbs on a fixed grid of exponents; limbs add as int64, exactly. The value is rounded
once, at the end. (The idea of a long accumulator, Kulisch 1971, with limbs of 24 bits so that 2**39 terms fit.)
"""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

Limbs = npt.NDArray[np.int64]
# Float32 sums and squares stay below 2**128, twice as high leaves room; what is below 2**-120 is dropped.
EXPONENTS = tuple(range(216, -121, -24))
_BITS, _LOWEST, _MASK = 24, EXPONENTS[-1], (1 << 24) - 1


def limbs(values: npt.NDArray[np.float32]) -> Limbs:
    """The limbs of the sum over the first axis of finite values of shape (R, C): int64 of shape (15, C).

    Sums of limbs are limbs of the sum, so it does not matter how the rows were grouped.
    """
    fraction, exponent = np.frexp(values)
    whole = (fraction * np.float32(1 << _BITS)).astype(np.int64)  # exact: a float32 has 24 bits
    position = exponent.astype(np.int64) - _BITS - _LOWEST
    whole >>= np.maximum(-position, 0)
    limb, shift = np.divmod(np.maximum(position, 0), _BITS)
    whole <<= shift  # below 2**48: it spans this limb and the next
    columns = values.shape[1]
    place = ((len(EXPONENTS) - 1 - limb) * columns + np.arange(columns)).reshape(-1)
    low, high = (whole & _MASK).reshape(-1), (whole >> _BITS).reshape(-1)
    # Counted in float64, which is exact: each term is below 2**24, and 2**29 rows are never in memory.
    size = len(EXPONENTS) * columns
    found = np.bincount(place, low, size) + np.bincount(place - columns, high, size)
    return found.astype(np.int64).reshape(len(EXPONENTS), columns)


def value(parts: Limbs) -> npt.NDArray[np.float64]:
    """The sums that limbs of shape (15, C) stand for, each rounded once, float64 of shape (C,)."""
    scaled = np.ldexp(parts.astype(np.float64), np.asarray(EXPONENTS)[:, None])
    return np.asarray([math.fsum(column) for column in scaled.T])
