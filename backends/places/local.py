"""This process, with the runtime that the target names."""

from __future__ import annotations

from pathlib import Path

from ...profiles.device.target import Target
from ...profiles.timing.taking_turns import Opener
from ..base import Engine, Feed, Session
from ..registry import load_backend
from .base import Place
from .elsewhere import opener_on
from .remote import HERE


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

    def as_graph(self, engine: Engine, path: Path) -> bool:
        """As its own backend does."""
        return load_backend(engine.backend).as_graph(engine, path)

    def opener(self, engine: Engine, feed: Feed, threads: int, scratch: Path) -> Opener:
        """A process of its own."""
        return opener_on(HERE, engine, feed, threads, scratch)
