"""Sums of floats that do not depend on the order of addition.

A float64 is cut into integer limbs on a fixed grid of exponents; limbs add as int64, exactly. The value is rounded
once, at the end. (The idea of a long accumulator, Kulisch 1971, with limbs of 24 bits so that 2**39 terms fit.)
"""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

Limbs = npt.NDArray[np.int64]
# Squares of float32 activations, summed over a batch, stay below 2**279; what is below 2**-120 is dropped.
EXPONENTS = tuple(range(216, -121, -24))


def limbs(values: npt.NDArray[np.float64]) -> Limbs:
    """The limbs of finite values of shape (C,), int64 of shape (15, C); sums of limbs are limbs of the sum."""
    rest = values.astype(np.float64, copy=True)
    found = np.zeros((len(EXPONENTS), *rest.shape), np.int64)
    largest = np.abs(rest).max(initial=0.0)
    for row, exponent in enumerate(EXPONENTS):
        if largest < 2.0**exponent:
            continue
        unit = 2.0**exponent
        whole = np.trunc(rest / unit)  # exact: the unit is a power of two
        found[row] = whole
        rest -= whole * unit
        if not rest.any():
            break
    return found


def value(parts: Limbs) -> npt.NDArray[np.float64]:
    """The sums that limbs of shape (15, C) stand for, each rounded once, float64 of shape (C,)."""
    scaled = np.ldexp(parts.astype(np.float64), np.asarray(EXPONENTS)[:, None])
    return np.asarray([math.fsum(column) for column in scaled.T])
