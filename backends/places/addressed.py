"""A device of the user's own, reached by an address: it is asked whether it fits before anything is copied there."""

from __future__ import annotations

from ...profiles.device.target import Target
from .elsewhere import Elsewhere


class Addressed(Elsewhere):
    """A device that is reached by its address; without one it is a name alone, and nothing is done there."""

    judges = False
    here = False

    def __init__(self, addressed: bool) -> None:
        self._addressed = addressed
        self._reasons: dict[str, str] = {}

    def why_not(self, target: Target) -> str:
        """Why engines of the target cannot be opened there: asked before anything is copied there, and again behind.

        Raises:
            UnservedError: there is no way to it, or it lacks what cannot be brought.
        """
        if not self._addressed:
            return f"it needs an address, {self.address}"
        if target.name not in self._reasons:
            self._reasons[target.name] = self._unfit(target) or self._unready(target)
        return self._reasons[target.name]

    def _unfit(self, target: Target) -> str:
        """What of the device is in the way, before anything is copied."""
        raise NotImplementedError

    def _unready(self, target: Target) -> str:
        """Why the runtime does not run there, once all it needs is there."""
        raise NotImplementedError
