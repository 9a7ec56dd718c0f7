"""Columns of which one is below another in every row, as the corners of boxes are."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ...backends.base import Array

# Rows of boxes, spans and limits have few columns. In so many rows, columns that have nothing to do with each other are
# in order once in 256 times.
_MOST_COLUMNS, _FEWEST_ROWS = 8, 8


@dataclass(frozen=True, slots=True, kw_only=True)
class RisingColumns:
    """Along the last axis of floats.

    Attributes:
        pairs: places of a column and of one that is never below it.
        rows: how many were seen.
    """

    pairs: frozenset[tuple[int, int]]
    rows: int

    @classmethod
    def of(cls, array: Array) -> RisingColumns | None:
        """Of one batch; None where there are none, or where it has no such rows."""
        if array.dtype.kind != "f" or array.ndim < 2 or not array.size or array.shape[-1] > _MOST_COLUMNS:
            return None
        rows = array.reshape(-1, array.shape[-1]).astype(np.float64)
        below = (rows[:, :, None] <= rows[:, None, :]).all(axis=0)
        # Of two that are always equal neither is the upper one.
        pairs = frozenset((int(low), int(high)) for low, high in np.argwhere(below & ~below.T))
        return cls(pairs=pairs, rows=len(rows)) if pairs else None

    def with_more(self, array: Array) -> RisingColumns | None:
        """Of what was seen before and this batch."""
        if not array.size:
            return self
        new = RisingColumns.of(array)
        both = self.pairs & new.pairs if new is not None else frozenset()
        return RisingColumns(pairs=both, rows=self.rows + new.rows) if new is not None and both else None

    def kept(self, made: Array) -> Array:
        """The made-up array, in each of whose rows the columns are in that order; as it is where few rows say so."""
        if self.rows < _FEWEST_ROWS:
            return made
        found = made.copy()
        for _ in range(_MOST_COLUMNS):  # a chain of so many is in order by then
            for low, high in sorted(self.pairs):
                one, other = found[..., low].copy(), found[..., high].copy()
                found[..., low], found[..., high] = np.minimum(one, other), np.maximum(one, other)
        return found


def in_order(made: Array, rising: RisingColumns | None) -> Array:
    """The made-up array with the order that data have, if they have one."""
    return made if rising is None else rising.kept(made)
