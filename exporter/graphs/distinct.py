"""Whole numbers of which no row occurs twice, as places that something is written to."""

from __future__ import annotations

import math

import numpy as np

from ...backends.base import Array

# Rows that differ by chance less often than this are meant to.
_CHANCE = 0.01


def are_distinct(array: Array) -> bool:
    """Whether no two rows along the first axis are alike, where as many drawn at random would have some.

    Of n rows among m that there can be, none is drawn twice with a probability of about exp(-n (n - 1) / 2m), which is
    the birthday problem.
    """
    if array.dtype.kind not in "iu" or array.ndim not in (1, 2) or array.size == 0:
        return False
    rows, cells = array.reshape(len(array), -1), math.prod(_sizes(array))
    by_chance = math.exp(-len(rows) * (len(rows) - 1) / (2 * cells))
    return by_chance < _CHANCE and len(np.unique(rows, axis=0)) == len(rows)


def distinct_like(array: Array, shape: tuple[int, ...], rng: np.random.Generator) -> Array | None:
    """Other rows in the range of the array's, no two alike; None where there are not so many, or of another width."""
    sizes = _sizes(array)
    if shape[1:] != array.shape[1:] or shape[0] > math.prod(sizes):
        return None
    places = np.unravel_index(rng.choice(math.prod(sizes), shape[0], replace=False), sizes)
    low = array.reshape(len(array), -1).min(axis=0)
    return np.asarray(np.stack(places, axis=1) + low.astype(np.int64)).reshape(shape).astype(array.dtype)


def _sizes(array: Array) -> tuple[int, ...]:
    """How many whole numbers lie in the range of each column."""
    rows = array.reshape(len(array), -1)
    return tuple(int(high) - int(low) + 1 for low, high in zip(rows.min(axis=0), rows.max(axis=0), strict=True))
