"""How fast a decoder writes, where it is exported."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .candidate import TextCandidate

if TYPE_CHECKING:
    from .make import TextMaker


def measured(candidate: TextCandidate, maker: TextMaker) -> TextCandidate:
    """The candidate with its speed."""
    return candidate
