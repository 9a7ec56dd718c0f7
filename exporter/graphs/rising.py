"""Columns of which one is below another in every row, as the corners of boxes are."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ...backends.base import Array

# Rows of boxes, spans and limits have few columns. In so many rows, columns that have nothing to do with each other are
# in order once in 256 times.
_MOST_COLUMNS, _FEWEST_ROWS = 8, 8
# Corners, (left, top, right, bottom), alone, behind the number of a picture or before a score: both pairs are in order
# in two rows of other things once in 16 times, and nothing is lost where these are made so.
_CORNERS = {4: (0,), 5: (1, 0)}


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
        """The made-up array, in each of whose rows the columns are in that order; by few rows, if these are corners."""
        pairs = self.pairs if self.rows >= _FEWEST_ROWS else self._corners(made.shape[-1])
        if not pairs:
            return made
        found = made.copy()
        for _ in range(_MOST_COLUMNS):  # a chain of so many is in order by then
            for low, high in sorted(pairs):
                one, other = found[..., low].copy(), found[..., high].copy()
                found[..., low], found[..., high] = np.minimum(one, other), np.maximum(one, other)
        return found

    def _corners(self, columns: int) -> frozenset[tuple[int, int]]:
        """Those of the pairs that are corners of boxes."""
        layouts = (corners(left) for left in _CORNERS.get(columns, ()))
        return next((pairs for pairs in layouts if pairs <= self.pairs), frozenset())


def corners(left: int) -> frozenset[tuple[int, int]]:
    """Which columns are in order where boxes begin at this one: left and right, top and bottom."""
    return frozenset({(left, left + 2), (left + 1, left + 3)})


def with_corners(made: Array, left: int) -> Array:
    """The made-up array, in each of whose rows the corners of a box that begins at this column are in order."""
    return RisingColumns(pairs=corners(left), rows=_FEWEST_ROWS).kept(made)


def in_order(made: Array, rising: RisingColumns | None) -> Array:
    """The made-up array with the order that data have, if they have one."""
    return made if rising is None else rising.kept(made)
