"""What reads one kind of source."""

from __future__ import annotations

from typing import Protocol

from .base import Source
from .decoder import DecoderSource


class SourceKind(Protocol):
    """A module of this package that reads one kind of source."""

    def matches(self, spec: str) -> bool:
        """The spec is of this kind; says nothing about whether it loads."""

    def load(self, spec: str, trust: bool) -> Source | DecoderSource:
        """Load it; code and pickles inside a file only with `trust`."""
