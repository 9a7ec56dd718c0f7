"""Where an export works: its directories, what its targets share, and the engines it has open."""

from __future__ import annotations

from .memo import Memo
from .workshop import OpenSessions, Workshop

__all__ = ["Memo", "OpenSessions", "Workshop"]
