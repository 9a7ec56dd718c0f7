"""Masks that tell which part of each sample is filled: rows of 0 and 1 that turn at most once."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ...backends.base import Array


@dataclass(frozen=True, slots=True, kw_only=True)
class FilledPart:
    """What rows of (samples, places) have in common.

    Attributes:
        falling: ones come before zeros, as where 1 says what is filled.
        rising: zeros come before ones, as where 1 says what to leave out, or what is filled stands at the end.
        first: every row has a 0 at its beginning.
        last: every row has a 1 at its end.
    """

    falling: bool
    rising: bool
    first: bool
    last: bool

    @classmethod
    def of(cls, array: Array) -> FilledPart | None:
        """Of one batch; None where it is no such mask."""
        if array.ndim != 2 or not array.size or not np.isin(array, (0, 1)).all():
            return None
        steps = np.diff(array.astype(np.int8), axis=1)
        return cls(
            falling=bool((steps <= 0).all() and array.any()),
            rising=bool((steps >= 0).all() and array.any()),
            first=not array[:, 0].any(),
            last=bool(array[:, -1].all()),
        )._or_none()

    def with_more(self, array: Array) -> FilledPart | None:
        """Of what was seen before and this batch, in which all may be filled."""
        if (new := FilledPart.of(array)) is None and array.any():
            return None
        return FilledPart(
            falling=self.falling and new is not None and new.falling,
            rising=self.rising and bool((np.diff(array.astype(np.int8), axis=1) >= 0).all()),
            first=self.first and not array[:, 0].any(),
            last=self.last and bool(array[:, -1].all()),
        )._or_none()

    def _or_none(self) -> FilledPart | None:
        return self if self.falling or self.rising else None

    def sample(self, shape: tuple[int, ...], dtype: np.dtype[np.generic], rng: np.random.Generator) -> Array:
        """Made-up rows that keep to it: of ones before zeros each has at least one 1."""
        rows, places = shape
        if self.falling:
            return (np.arange(places) < rng.integers(1, places + 1, (rows, 1))).astype(dtype)
        least, most = int(self.first), places - int(self.last)
        if least > most:  # one place; of torch's masks a True leaves it out, and of others a 0
            least = most = int(dtype.kind == "b")
        return (np.arange(places) >= rng.integers(least, most + 1, (rows, 1))).astype(dtype)
