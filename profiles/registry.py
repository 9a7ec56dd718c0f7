"""Things found by their entry-point name, the built-in ones too: backends, places, range methods, lifts."""

from __future__ import annotations

from collections.abc import Collection
from functools import cached_property
from importlib.metadata import EntryPoint, entry_points
from itertools import chain
from types import EllipsisType

from ..errors import InputError, UnservedError
from .reading.near import did_you_mean


class Registry:
    """One group of entry points. The metadata are read at the first question, and nothing is imported before `load`.

    A value that stands in a module for the life of the process; what is loaded is loaded once.
    """

    def __init__(self, group: str, noun: str, *, order: tuple[str | EllipsisType, ...] = (...,)) -> None:
        """Name what is registered.

        Args:
            group: of the entry points, such as `edgepress.backends`.
            noun: what one of them is, for messages.
            order: the names in the order that matters; `...`, once, is where those that it does not know belong.
        """
        self.group, self.noun, self.order = group, noun, order
        self._loaded: dict[str, object] = {}

    def names(self) -> tuple[str, ...]:
        """All registered names, in the registry's order, and sorted where it says nothing.

        Raises:
            InputError: two packages register different things under one name.
        """
        others = sorted(self._points.keys() - set(self.order))
        listed = chain.from_iterable(others if name is ... else [name] for name in self.order)
        return tuple(name for name in listed if name in self._points)

    def load(self, name: str) -> object:
        """What is registered under the name: the object itself, which is neither called nor checked here.

        Raises:
            InputError: nothing is registered under the name (the near ones are listed), or two things are.
            UnservedError: the package that registers it does not import.
        """
        if name not in self._loaded:
            self._loaded[name] = self._import(name)
        return self._loaded[name]

    @cached_property
    def _points(self) -> dict[str, EntryPoint]:
        points: dict[str, EntryPoint] = {}
        for point in entry_points(group=self.group):
            other = points.setdefault(point.name, point)
            if other.value != point.value:
                raise InputError(
                    f"Two packages register the {self.noun} {point.name!r}: {other.value} and {point.value}.",
                    hint="Uninstall one of them.",
                )
        return points

    def _import(self, name: str) -> object:
        if name not in self._points:
            raise InputError(unknown_name(self.noun, name, self._points))
        point = self._points[name]
        try:
            thing: object = point.load()
        except (ImportError, AttributeError) as error:
            noun = self.noun.capitalize()
            raise UnservedError(f"{noun} {name!r} ({point.value}) does not import: {error}.") from error
        return thing


def unknown_name(noun: str, name: str, known: Collection[str]) -> str:
    """The message for a name that is none of those known: the near ones, or all where none is near."""
    return f"Unknown {noun} {name!r}. {did_you_mean(name, sorted(known))}"
