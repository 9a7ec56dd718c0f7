"""Where the bundles of trials lie, by number."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from pathlib import Path

from .result import Result


@dataclass(frozen=True, slots=True, kw_only=True)
class TrialBundles:
    """The bundles in `directory`.

    Attributes:
        others: what finished trials found.
    """

    others: Callable[[], Sequence[Result]]
    directory: Path

    def keep(self, best: Collection[int]) -> None:
        """Delete the bundles of all finished trials but these."""
        for result in self.others():
            if result.number not in best:
                shutil.rmtree(self.bundle(result.number), ignore_errors=True)

    def clear(self, numbers: Collection[int]) -> None:
        """Delete what killed trials left half-written."""
        for number in numbers:
            for path in self.directory.glob(f".{number:04}.*"):
                shutil.rmtree(path)

    def bundle(self, number: int) -> Path:
        """Where a trial's bundle lies."""
        return self.directory / f"{number:04}"
