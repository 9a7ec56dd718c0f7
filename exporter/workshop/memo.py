"""What the targets of one run have in common, each made once."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping
from copy import copy
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, TypeVar

from ...errors import EdgepressError

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class _Failed:
    """What stands for a value that could not be made."""

    error: EdgepressError


Keep = Callable[[Hashable], bool]


@dataclass(frozen=True, slots=True, kw_only=True)
class Memo:
    """Values by kind and by what decides them.

    Attributes:
        directory: of files that the values name.
        checkpoint: where training runs are kept, so that a killed one goes on; None keeps none.
    """

    directory: Path
    checkpoint: Path | None = None
    _kinds: dict[str, dict[Hashable, Any]] = field(default_factory=dict)

    def once(self, kind: str, key: Hashable, make: Callable[[], T]) -> T:
        """The value, made at the first call.

        Raises:
            EdgepressError: as `make` did, at that call and at each later one.
        """
        values = self._kinds.setdefault(kind, {})
        if key not in values:
            values[key] = _tried(make)
        value: T | _Failed = values[key]
        if isinstance(value, _Failed):
            raise copy(value.error)
        return value

    def found(self, kind: str, key: Hashable) -> Any:
        """A value, where it was made before; None where it was not, or could not be."""
        value = self._kinds.get(kind, {}).get(key)
        return None if isinstance(value, _Failed) else value

    def known(self, kind: str, key: Hashable) -> Any:
        """A value that was made before."""
        return self._kinds[kind][key]

    def part(self, directory: Path, only: Mapping[str, Keep], shared: tuple[str, ...]) -> Memo:
        """A memo that begins with some of these values.

        Args:
            directory: of what is new in it.
            only: kinds of which it has a part, and which values of them; what it adds to them stays its own.
            shared: kinds that both have, whoever adds to them.
        """
        mine = {kind: {k: v for k, v in self._kinds.get(kind, {}).items() if keep(k)} for kind, keep in only.items()}
        both = {kind: self._kinds.setdefault(kind, {}) for kind in shared}
        return replace(self, directory=directory, _kinds={**mine, **both})


def _tried(make: Callable[[], T]) -> T | _Failed:
    try:
        return make()
    except EdgepressError as error:
        # Without its frames, which hold what was at hand when it was raised.
        return _Failed(error=error.with_traceback(None))
