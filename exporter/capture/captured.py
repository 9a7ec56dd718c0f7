"""A captured graph with its proof."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from ...backends.base import Graph
from ...profiles.findings.evidence import Evidence
from ...profiles.findings.gap import Gap
from ...profiles.findings.parity import Parity
from .golden import Golden
from .on_samples import OnSamples


@dataclass(frozen=True, slots=True, kw_only=True)
class Captured:
    """The FP32 graph, its parity with the model by output, and golden data made with it.

    Attributes:
        evidence: what else was seen of the graph.
        amounts: integer outputs that are judged by how far off they are; references hold them as floating point.
        on_samples: the proof on calibration samples; None where there are none.
        missing: what is to be said of sizes that its free axes allow.
    """

    graph: Graph
    parity: Mapping[str, Parity]
    golden: Golden
    amounts: frozenset[str] = frozenset()
    evidence: tuple[Evidence, ...] = ()
    on_samples: OnSamples | None = None
    missing: tuple[Gap, ...] = ()
