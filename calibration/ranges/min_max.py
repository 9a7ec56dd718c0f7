"""Everything that was seen."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .distribution import ValueDistribution


def find(seen: ValueDistribution) -> tuple[float, float]:
    """The extremes."""
    return seen.minimum, seen.maximum
