"""What packages register by entry point, found by name: backends, places, precisions, lifts, range methods.

The built-in ones are registered like anybody's, so that adding one is one file and one line of package metadata.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from functools import cached_property
from importlib.metadata import EntryPoint, entry_points
from typing import Generic, TypeVar, cast

from ..errors import InputError, UnservedError

T = TypeVar("T")


class Registry(Generic[T]):
    """The entry points of a group.

    Attributes:
        group: `edgepress.backends`.
        noun: what one of them is, for messages.
    """

    def __init__(self, group: str, noun: str) -> None:
        self.group, self.noun = group, noun

    def names(self) -> tuple[str, ...]:
        """All registered names, sorted.

        Raises:
            InputError: two packages register one name.
        """
        return tuple(sorted(self._points))

    def load(self, name: str) -> T:
        """What is registered under a name.

        Raises:
            InputError: nothing is; the near names are listed.
            UnservedError: the package that registers it does not import.
        """
        if name not in self._points:
            near = difflib.get_close_matches(name, self.names(), 1)
            hint = f"Did you mean {near[0]}?" if near else None
            raise InputError(f"Unknown {self.noun} {name!r}; registered: {', '.join(self.names())}.", hint=hint)
        point = self._points[name]
        try:
            return cast(T, point.load())
        except (ImportError, AttributeError) as error:
            title = self.noun.capitalize()
            raise UnservedError(f"{title} {name!r} ({point.value}) does not import: {error}.") from error

    @cached_property
    def _points(self) -> Mapping[str, EntryPoint]:
        points: dict[str, EntryPoint] = {}
        for point in entry_points(group=self.group):
            other = points.setdefault(point.name, point)
            if other.value != point.value:
                raise InputError(
                    f"Two packages register the {self.noun} {point.name!r}: {other.value} and {point.value}.",
                    hint="Uninstall one of them.",
                )
        return points
