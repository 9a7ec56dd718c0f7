"""A candidate: one precision, made. Nothing here needs torch or onnx."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from ...backends.base import Array, Engine, Graph
from ...errors import EdgepressError
from ...profiles.device.precision import PrecisionName
from ...profiles.findings.evidence import Evidence
from ...profiles.findings.gap import About, Gap, joined
from ...profiles.findings.ladder import Ladder
from ...profiles.findings.layers import Coverage, Layer
from ...profiles.findings.parity import Parity
from ...profiles.findings.pruning import Sparsity
from ...profiles.findings.report import TaskMetric
from ...profiles.findings.sensitivity import ParityByLayer, Sensitivity


@dataclass(frozen=True, slots=True, kw_only=True)
class OwnGolden:
    """What a candidate's own graph gives for the golden inputs, where that is not what FP32 gives.

    Attributes:
        outputs: of each feed, on the reference place.
        engine_db: how close the engine comes to them, in dB of SQNR.
    """

    outputs: tuple[Mapping[str, Array], ...]
    engine_db: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Calibrated:
    """Digests of the statistics that ranges were taken from, and of the data that these were collected on."""

    statistics: str
    data: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """One precision of a model; what was not yet found of it is empty.

    Attributes:
        graph: what the engine is compiled from, `model.onnx` in a directory of its own.
        weights: bytes of the graph's weights.
        calibrated: None where nothing was.
        least_db: agreement with FP32 that it must reach on the golden inputs, in dB of SQNR.
        on_samples: parity of the graph with FP32 on calibration samples, at the reference place, by output; empty where
            nobody asked for it.
        engine: None where it is not built here; `not_built` says why.
        runs: what answers for it where it is judged: the engine, or the graph itself.
        size: bytes of the engine and what belongs to it.
        parity: with the FP32 model on the golden inputs, by output; empty where it was not judged.
        own_golden: of integers, where the engine ran here.
        how: what was run for that, in words.
        task: the user's own metric, None where there is none or nobody asked.
        layers: of the opened engine; with times where it ran on the architecture it is for.
        left: why the quantizer left a node float, by node name.
        sensitivity: which layers a low precision hurts, where something was required of it.
        ladder: what was tried where integers missed what was asked.
        rungs: graphs that were tried on it and are not this one, by the names of their latencies.
        by_layer: how far the layers of the graph are from FP32.
        missing: what was not possible, and why.
    """

    precision: PrecisionName
    graph: Graph
    least_db: float
    weights: int = 0
    calibrated: Calibrated | None = None
    on_samples: Mapping[str, Parity] = field(default_factory=dict)
    engine: Engine | None = None
    not_built: str = ""
    runs: Engine | None = None
    size: int | None = None
    parity: Mapping[str, Parity] = field(default_factory=dict)
    own_golden: OwnGolden | None = None
    how: str = ""
    task: TaskMetric | None = None
    layers: tuple[Layer, ...] = ()
    coverage: Coverage | None = None
    left: Mapping[str, str] = field(default_factory=dict)
    sensitivity: Sensitivity | None = None
    ladder: Ladder | None = None
    rungs: Mapping[str, Graph] = field(default_factory=dict)
    by_layer: ParityByLayer | None = None
    sparsity: Sparsity | None = None
    evidence: tuple[Evidence, ...] = ()
    missing: tuple[Gap, ...] = ()
    notes: tuple[str, ...] = ()

    def without(self, about: About, why: str, subject: str = "") -> Candidate:
        """The candidate with one more thing that was not possible, and why."""
        return replace(self, missing=joined(self.missing, (Gap(about=about, why=why, subject=subject),)))


@dataclass(frozen=True, slots=True, kw_only=True)
class Refused:
    """A precision that turned out not to do.

    Attributes:
        error: what it failed with.
    """

    precision: PrecisionName
    error: EdgepressError

    @property
    def ladder(self) -> Ladder | None:
        """What was tried before, where it is of integers."""
        found: Ladder | None = getattr(self.error, "ladder", None)
        return found

    @property
    def reason(self) -> str:
        """Why, in full sentences."""
        return self.error.message
