"""A child process for each engine: native code that crashes ends that one, and nothing else shares it."""

from __future__ import annotations

from ...profiles.device.target import Target
from .elsewhere import Elsewhere
from .local import Local


class Worker(Elsewhere):
    """The engine, opened in a process of its own on this machine."""

    name = "worker"
    judges = False  # it takes a second to start: for what may crash, and for what must not share a process
    order = 10

    def why_not(self, target: Target) -> str:
        """Why its runtime does not run on this machine."""
        return Local().why_not(target)
