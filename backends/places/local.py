"""This process, with the runtime that the target names."""

from __future__ import annotations

from ...profiles.device.target import Target
from ..base import Engine, Session
from ..registry import load_backend
from .base import Place


class Local(Place):
    """The engine, opened in this process."""

    name = "local"
    order = 0

    def why_not(self, target: Target) -> str:
        """Why its runtime does not run on this machine."""
        here = load_backend(target.backend).available()
        return "" if here.run else here.reason

    def open(self, engine: Engine, threads: int | None = None) -> Session:
        """Open it with its own backend."""
        return load_backend(engine.backend).open(engine, threads)
