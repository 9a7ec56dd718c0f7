"""Where an engine runs: a place is asked whether an engine runs there, and opens it.

`local` is this process, `worker` a child process of its own for each engine, `reference` the graph on this CPU. A place
that is not this machine has an address, `SCHEME://REST`, whose scheme is its name.
"""

from __future__ import annotations

from functools import cache

from ...errors import InputError
from ...profiles.device.target import Target
from ...profiles.registry import Registry
from .base import Place
from .devices import address_of
from .local import Local
from .reference import GraphValues, Reference
from .worker import Worker

PLACES = Registry("edgepress.places", "place")


def place_names() -> tuple[str, ...]:
    """Names of all registered places, sorted."""
    return PLACES.names()


@cache
def load_place(name: str) -> Place:
    """The place registered under `name`.

    Raises:
        InputError: nothing is registered under the name.
        UnservedError: the package that registers it does not import.
    """
    return _kind(name)()


def place_at(address: str) -> Place:
    """The place at an address, `SCHEME://REST`, or that of a device, `FILE.toml#NAME`; the same one for the same.

    Raises:
        InputError: it is none, or none of the place that the scheme names.
        UnservedError: the package of that place does not import.
    """
    return _place_at(address_of(address))


@cache
def _place_at(address: str) -> Place:
    scheme, separator, rest = address.partition("://")
    kind = _kind(scheme) if separator and scheme in place_names() else None
    if kind is None or not kind.address:
        known = ", ".join(found for name in place_names() if (found := _kind(name).address))
        raise InputError(
            f"{address!r} is no address of a place.", hint=f"Give one of these: {known}, or devices.toml#NAME."
        )
    return kind.at(rest)


def _kind(name: str) -> type[Place]:
    kind = PLACES.load(name)
    assert isinstance(kind, type) and issubclass(kind, Place), f"{kind} is not a Place"
    return kind


def place_for(target: Target, on: str | None = None) -> Place:
    """Where an engine for the target is judged and measured.

    A place that shows what the device does comes before one that emulates it, one that runs the engine before one that
    runs its graph; of equal ones the first by `order`.

    Args:
        on: the address of the one place that may be taken.

    Raises:
        InputError: it is no address.
        UnservedError: engines of the target cannot be opened there; why, and what to do.
    """
    if on is not None:
        return _asked_for(on, target)
    able = [place for place in map(load_place, place_names()) if place.judges and not place.why_not(target)]
    return min(
        able, key=lambda place: (place.evidence(target) != "measured", not place.itself, place.order), default=Local()
    )


def engine_place(target: Target, prefix: str = "", on: str | None = None) -> Place:
    """Where the engine itself runs, never its graph alone.

    Args:
        prefix: how the message begins.
        on: the address of the one place that may be taken.

    Raises:
        InputError: it is no address.
        UnservedError: nowhere that this machine reaches, or not there; why, and what to install.
    """
    if on is not None:
        return _asked_for(on, target, prefix)
    place = place_for(target)
    if not place.itself or place.why_not(target):
        Local().need(target, prefix)
    return place


def _asked_for(on: str, target: Target, prefix: str = "") -> Place:
    place = place_at(on)
    place.need(target, prefix)
    return place


__all__ = [
    "GraphValues",
    "Local",
    "Place",
    "Reference",
    "Worker",
    "engine_place",
    "load_place",
    "place_at",
    "place_for",
    "place_names",
]
