"""The directories, the place and the open engines of the export to one target."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from ...backends.base import Engine, Session
from ...backends.places import Place
from ...profiles.device.precision import PrecisionName
from .memo import Memo


class OpenSessions(ExitStack):
    """Sessions that several stages use, each opened once and closed together."""

    def __init__(self) -> None:
        super().__init__()
        self._open: dict[tuple[str, Path, PrecisionName], Session] = {}

    def get(self, place: Place, engine: Engine, threads: int) -> Session:
        """The session of an engine at a place, opened at the first call."""
        key = self._key(place, engine)
        if key not in self._open:
            self._open[key] = self.enter_context(place.open(engine, threads))
        return self._open[key]

    def exchange(self, place: Place, engine: Engine, other: Session) -> None:
        """Let another session answer for an engine from now on; its own is closed."""
        key = self._key(place, engine)
        if (own := self._open.get(key)) is not None:
            own.close()
        self._open[key] = self.enter_context(other)

    @staticmethod
    def _key(place: Place, engine: Engine) -> tuple[str, Path, PrecisionName]:
        return place.name, engine.path, engine.precision


@dataclass(frozen=True, slots=True, kw_only=True)
class Workshop:
    """Where the bundle of one target is made.

    Attributes:
        directory: the bundle's directory-to-be.
        scratch: a directory for what is not shipped.
        memo: what the targets of one run have in common.
        sessions: open engines.
        threads: intra-op threads of every runtime.
        place: where the target's engines are judged and measured.
    """

    directory: Path
    scratch: Path
    memo: Memo
    sessions: OpenSessions
    threads: int
    place: Place

    def open(self, engine: Engine, place: Place | None = None) -> Session:
        """The session of an engine, by default where engines are judged."""
        return self.sessions.get(place or self.place, engine, self.threads)
