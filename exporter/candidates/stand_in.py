"""An engine that only the device can build: a related parser judges its graph here."""

from __future__ import annotations

from dataclasses import replace

from ...backends.base import Graph
from ...backends.places import Local, Place
from ...profiles.device.target import Target
from ...profiles.findings.evidence import Evidence
from ...profiles.findings.gap import Gap
from ..capture.stage import refuse
from ..lint.parser import stand_in_parsed
from .candidate import Candidate


def left_to_the_device(candidate: Candidate, target: Target, place: Place, source: str, reason: str) -> Candidate:
    """The candidate, whose engine the device finishes; `Backend.require` has made sure that it can.

    Args:
        place: where it would have been built.
        source: name of the model.
        reason: why it is not built there, a clause.

    Raises:
        RefusedError: as `stand_in`.
    """
    why = f"not built here, because {reason}"
    absent = Evidence(
        about="engine",
        claim=f"The engine is {why}",
        kind="absent",
        tool=target.backend,
        machine=str(place.machine),
    )
    todo = f"The engine is {why}. Copy the bundle to the device and run there: edgepress build {source}-{target.name}"
    unbuilt = replace(candidate, not_built=why, evidence=(*candidate.evidence, absent)).without("engine", todo)
    found = stand_in(candidate.graph, target)
    if isinstance(found, Gap):
        return unbuilt.without(found.about, found.why)
    return replace(unbuilt, evidence=(*unbuilt.evidence, found))


def stand_in(graph: Graph, target: Target) -> Evidence | Gap:
    """What a related parser says of a graph, or why none was asked.

    Raises:
        RefusedError: it does not take the graph, for another reason than an operator that only the target's own has.
    """
    found = stand_in_parsed(graph, target)
    refuse(found.rejections, target.name, by=f" (by the parser of {found.name})")
    if found.gap:
        return Gap(about="parser", why=found.gap)
    return Evidence(
        about="graph",
        claim=f"The parser of {found.name} accepts model.onnx, as a stand-in for {target.backend} on the device",
        kind="emulated",
        tool=found.by,
        machine=str(Local().machine),
    )
