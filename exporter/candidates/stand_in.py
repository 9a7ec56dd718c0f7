"""A related parser judges a graph where the target's own is not on this machine."""

from __future__ import annotations

from dataclasses import replace

from ...backends.base import Graph
from ...backends.places import Local
from ...profiles.device.target import Target
from ...profiles.findings.evidence import Evidence
from ...profiles.findings.gap import Gap
from ..capture.stage import refuse
from ..lint.parser import stand_in_parsed
from .candidate import Candidate


def stood_in(candidate: Candidate, target: Target) -> Candidate:
    """Let a related parser judge the graph where the target's own is not here.

    Raises:
        RefusedError: as `stand_in`.
    """
    found = stand_in(candidate.graph, target)
    if isinstance(found, Gap):
        return candidate.without(found.about, found.why)
    return replace(candidate, evidence=(*candidate.evidence, found))


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
