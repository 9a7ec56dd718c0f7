"""A related parser judges a graph where the target's own is not on this machine."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from ...backends.base import Graph, Rejection
from ...backends.places import Local
from ...backends.registry import load_backend
from ...profiles.device.target import Target
from ...profiles.findings.evidence import Evidence
from ...profiles.findings.gap import Gap
from ..capture.stage import refuse
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
    name = target.toolchain.stand_in
    if not name:
        return Gap(about="parser", why="No parser judged the graph: a stand-in is not installed here.")
    other, place = replace(target, backend=name), Local()
    if place.why_not_built(other):
        return Gap(about="parser", why=f"No parser judged the graph: {name} is not installed here.")
    rejections = place.check(graph, other)
    lacking = [one for one in rejections if one.operator in target.toolchain.stand_in_lacks]
    refuse([one for one in rejections if one not in lacking], target.name, by=f" (by the parser of {name})")
    if lacking:
        why = (
            f"No parser judged the whole graph: {name}, which stands in, has no {' and no '.join(_operators(lacking))}"
        )
        return Gap(about="parser", why=f"{why}; {target.toolchain.name} has.")
    return Evidence(
        about="graph",
        claim=f"The parser of {name} accepts model.onnx, as a stand-in for {target.backend} on the device",
        kind="emulated",
        tool=load_backend(name).available().version,
        machine=str(place.machine),
    )


def _operators(rejections: Sequence[Rejection]) -> list[str]:
    return sorted({rejection.operator for rejection in rejections})
