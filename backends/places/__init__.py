"""Where an engine runs: a place is asked whether an engine runs there, and opens it.

`local` is this process, `worker` a child process of its own for each engine, `reference` the graph on this CPU.
"""

from __future__ import annotations

from functools import cache

from ...profiles.device.target import Target
from ...profiles.registry import Registry
from .base import Place
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
    kind = PLACES.load(name)
    assert isinstance(kind, type) and issubclass(kind, Place), f"{kind} is not a Place"
    return kind()


def place_for(target: Target) -> Place:
    """Where an engine for the target is judged and measured.

    A place that shows what the device does comes before one that emulates it, one that runs the engine before one that
    runs its graph; of equal ones the first by `order`.
    """
    able = [place for place in map(load_place, place_names()) if place.judges and not place.why_not(target)]
    return min(
        able, key=lambda place: (place.evidence(target) != "measured", not place.itself, place.order), default=Local()
    )


def engine_place(target: Target, prefix: str = "") -> Place:
    """Where the engine itself runs, never its graph alone.

    Args:
        prefix: how the message begins.

    Raises:
        UnservedError: nowhere that this machine reaches; why, and what to install.
    """
    place = place_for(target)
    if not place.itself or place.why_not(target):
        Local().need(target, prefix)
    return place


__all__ = [
    "GraphValues",
    "Local",
    "Place",
    "Reference",
    "Worker",
    "engine_place",
    "load_place",
    "place_for",
    "place_names",
]
