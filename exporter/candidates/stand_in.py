"""A related parser judges a graph where the target's own is not on this machine."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from ...backends.base import Rejection
from ...backends.places import Local
from ...backends.registry import load_backend
from ...profiles.device.target import Target
from ...profiles.findings.evidence import Evidence
from ..capture.stage import refuse
from .candidate import Candidate


def stood_in(candidate: Candidate, target: Target) -> Candidate:
    """Let a related parser judge the graph where the target's own is not here.

    Raises:
        RefusedError: it does not take the graph, for another reason than an operator that only the target's own has.
    """
    name = target.toolchain.stand_in
    if not name:
        return candidate.without("parser", "No parser judged the graph: a stand-in is not installed here.")
    stand_in, place = replace(target, backend=name), Local()
    if place.why_not_built(stand_in):
        return candidate.without("parser", f"No parser judged the graph: {name} is not installed here.")
    rejections = place.check(candidate.graph, stand_in)
    lacking = [one for one in rejections if one.operator in target.toolchain.stand_in_lacks]
    refuse([one for one in rejections if one not in lacking], target.name, by=f" (by the parser of {name})")
    if lacking:
        why = (
            f"No parser judged the whole graph: {name}, which stands in, has no {' and no '.join(_operators(lacking))}"
        )
        return candidate.without("parser", f"{why}; {target.toolchain.name} has.")
    accepted = Evidence(
        about="graph",
        claim=f"The parser of {name} accepts model.onnx, as a stand-in for {target.backend} on the device",
        kind="emulated",
        tool=load_backend(name).available().version,
        machine=str(place.machine),
    )
    return replace(candidate, evidence=(*candidate.evidence, accepted))


def _operators(rejections: Sequence[Rejection]) -> list[str]:
    return sorted({rejection.operator for rejection in rejections})
