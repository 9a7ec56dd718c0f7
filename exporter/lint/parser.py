"""What a parser says of a graph: the target's own where it is here, else the one that stands in for it."""

from __future__ import annotations

from dataclasses import dataclass, replace

from ...backends.base import Graph, Rejection
from ...backends.places import Local, Place
from ...backends.registry import load_backend
from ...profiles.device.target import Target


@dataclass(frozen=True, slots=True, kw_only=True)
class Parsed:
    """A parser's word.

    Attributes:
        by: its name and version; empty where none was asked.
        name: its name alone.
        stands_in: it is not the target's own.
        where: it was asked, in words; empty for this machine.
        rejections: nodes that it does not take and that the target's own would not take either.
        gap: why none was asked, or what it could not judge, one sentence.
    """

    by: str = ""
    name: str = ""
    stands_in: bool = False
    where: str = ""
    rejections: tuple[Rejection, ...] = ()
    gap: str = ""


def has_own_parser(target: Target, place: Place) -> bool:
    """Whether the target's own compiler is at a place."""
    return not place.why_not_built(target)


def parsed(graph: Graph, target: Target, place: Place) -> Parsed:
    """The word of the target's own compiler at a place, or of its stand-in on this machine.

    Raises:
        EngineFailedError: it crashed.
    """
    if not has_own_parser(target, place):
        return stand_in_parsed(graph, target)
    rejections = place.check(graph, target)
    there = not place.here and place.builder == place.machine  # for a phone, this machine compiles
    where = place.where if there else ""
    return Parsed(by=place.compiler(target), name=target.backend, rejections=rejections, where=where)


def stand_in_parsed(graph: Graph, target: Target) -> Parsed:
    """The word of the parser that stands in for the target's.

    Raises:
        EngineFailedError: it crashed.
    """
    name, place = target.toolchain.stand_in, Local()
    if not name:
        return Parsed(gap="No parser judged the graph: a stand-in is not installed here.")
    other = replace(target, backend=name)
    if place.why_not_built(other):
        return Parsed(gap=f"No parser judged the graph: {name} is not installed here.")
    rejections = place.check(graph, other)
    lacking = [one for one in rejections if one.operator in target.toolchain.stand_in_lacks]
    gap = ""
    if lacking:
        operators = " and no ".join(sorted({one.operator for one in lacking}))
        gap = (
            f"No parser judged the whole graph: {name}, which stands in, has no {operators}; "
            f"{target.toolchain.name} has."
        )
    kept = tuple(one for one in rejections if one not in lacking)
    return Parsed(by=load_backend(name).available().version, name=name, stands_in=True, rejections=kept, gap=gap)
