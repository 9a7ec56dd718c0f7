"""Hold a candidate's graph against the rules of its target before anything is compiled of it."""

from __future__ import annotations

from dataclasses import replace

from ...profiles.device.target import Target
from ..capture.stage import refuse
from ..lint.finding import as_rejections
from ..lint.run import by_rules
from ..lint.show import sentences
from .candidate import Candidate


def linted(candidate: Candidate, target: Target) -> Candidate:
    """The candidate, with what will be slow on the target among its notes; a parser is asked elsewhere.

    Raises:
        RefusedError: it will fail or be wrong there; naming the nodes and what to do.
    """
    findings = by_rules(candidate.graph.path, target, candidate.graph.axes)
    refuse(
        as_rejections(findings), target.name, by=" (rules of `edgepress lint`)", hint="Each line above says what to do."
    )
    return replace(candidate, notes=(*candidate.notes, *sentences(findings)))
