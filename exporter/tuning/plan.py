"""What a search is asked for, and what it gives back."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from ...profiles.device.target import Target
from ..bundle.manifest import Bundle
from ..recipe import Recipe
from ..sources import DecoderSource, Source
from .result import Result


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What a search is asked for.

    Attributes:
        recipe: its open settings are searched; its budget is what the chosen point must keep.
        output: directory that receives the bundle, and the search's own directory beside it.
        storage: file or database URL of the study; None is a file in the search's directory.
        study: its name there; None is that of the bundle.
        trials: finished ones in the study, of all processes, after which the search ends.
        timeout: seconds after which this process starts no further trial; None is no limit.
        conclude: choose and export at the end; False leaves that to another process.
    """

    source: Source | DecoderSource
    target: Target
    recipe: Recipe
    output: Path
    storage: str | None = None
    study: str | None = None
    trials: int = 40
    timeout: float | None = None
    force: bool = False
    conclude: bool = True

    @property
    def name(self) -> str:
        """The name of the bundle."""
        return f"{self.source.name}-{self.target.name}"

    @property
    def place(self) -> str:
        """Path or URL of the study."""
        return self.storage or str(self.directory / "study.db")

    @property
    def trained(self) -> Path:
        """Where trials, and the export in the end, keep what pruning and training found."""
        return self.directory / "training"

    @property
    def directory(self) -> Path:
        """Where the search keeps its study, its plot, its recipe and the bundles of the front."""
        return self.output / f"{self.name}.tune"


@dataclass(frozen=True, slots=True, kw_only=True)
class Tuned:
    """What a search found: the chosen point, its recipe, its bundle and the report; None where another concludes."""

    results: tuple[Result, ...]
    best: tuple[Result, ...]
    chosen: Result | None = None
    recipe: Path | None = None
    bundle: Bundle | None = None
    plots: tuple[Path, ...] = ()
    page: Path | None = None
