"""What is known of a bundle while it is being made: the value that flows through the stages."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..backends.base import AxisRange, Backend, Engine, Graph, Session
from ..profiles.device.target import Precision, Target
from ..profiles.findings.choice import Choice
from ..profiles.findings.evidence import Evidence
from ..profiles.findings.layers import Coverage, Layer
from ..profiles.findings.parity import Parity
from ..profiles.findings.pruning import Pruning, Sparsity
from ..profiles.findings.report import Sizes, TaskMetric
from ..profiles.findings.sensitivity import ParityByLayer, Sensitivity
from ..profiles.findings.training import TrainingRun
from ..profiles.machine.conditions import Conditions
from ..profiles.timing.measurement import Measurement, Ratio
from .bundle.manifest import FallbackEntry
from .recipe import Recipe

if TYPE_CHECKING:
    from torch import nn

    from .capture.golden import Golden
    from .sources import Source
    from .training.loop import TrainingOutcome


class OpenSessions(ExitStack):
    """Sessions that several stages use, each opened once and closed together."""

    def __init__(self) -> None:
        super().__init__()
        self._open: dict[tuple[Path, Precision], Session] = {}

    def get(self, backend: Backend, engine: Engine, target: Target, threads: int) -> Session:
        """The session of an engine, opened at the first call."""
        key = (engine.path, engine.precision)  # another precision may have taken the place of the first
        if key not in self._open:
            self._open[key] = self.enter_context(backend.open(engine, target, threads))
        return self._open[key]


@dataclass(frozen=True, slots=True, kw_only=True)
class Captured:
    """A captured graph, its parity with the model by output, and golden data made with it."""

    graph: Graph
    parity: Mapping[str, Parity]
    golden: Golden


@dataclass(frozen=True, slots=True, kw_only=True)
class Shared:
    """What the targets of one run have in common.

    Attributes:
        captured: graphs by opset and digest of the source.
        trained: outcomes by digest of the module before training.
        metrics: the user's metric of models as given, by opset and digest.
        savings: milliseconds that a unit of each group of a model costs, by what they were measured on.
        checkpoint: where training runs are kept, so that a killed one goes on; None keeps none.
    """

    directory: Path
    captured: dict[tuple[int, str], Captured] = field(default_factory=dict)
    trained: dict[str, TrainingOutcome] = field(default_factory=dict)
    metrics: dict[tuple[int, str], float] = field(default_factory=dict)
    savings: dict[str, Mapping[str, float]] = field(default_factory=dict)
    checkpoint: Path | None = None


def _nothing(module: nn.Module) -> None:
    """What most trainings have to put back."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rival:
    """A float engine on the same runtime, to compare with; it is shipped where int8 does not earn its place."""

    graph: Graph
    engine: Engine
    size: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Draft:
    """A bundle in the making; a stage returns a copy with more in it.

    Attributes:
        directory: the bundle's directory-to-be.
        scratch: a directory for what is not shipped.
        shared: what the targets of one run have in common.
        sessions: open engines, shared by the stages.
        threads: intra-op threads of every runtime.
        reference: the FP32 graph, None before capture.
        graph: the graph the engine is compiled from.
        original: the model as given, where a stage before capture changed it; quality is judged against it.
        restore: called with the module after each step of training; puts back what a stage before it fixed.
        pruning: what was removed before capture.
        sparsity: 2:4 weights of the graph, where they were asked for.
        left: why the quantizer left a node float, by node name.
        sensitivity: which layers int8 hurts, where something was required of it.
        by_layer: how far the layers of the int8 graph are from FP32.
        engine: None where it is not built here; `not_built` says why.
        rivals: float engines on the same runtime, FP32 among them wherever an engine can be built.
        refused: precisions that turned out not to do, and why.
        base: the draft as it was before anything was made in some precision.
        choice: which precision is shipped, and why.
        layers: of the opened engine; with times where it ran on the architecture it is for.
        conditions: of the machine before and after the latencies were taken.
        fallback: the float graph that goes along where the device is to repeat the choice.
    """

    source: Source
    original: Source | None = None
    restore: Callable[[nn.Module], None] = _nothing
    pruning: Pruning | None = None
    sparsity: Sparsity | None = None
    target: Target
    recipe: Recipe
    backend: Backend
    directory: Path
    scratch: Path
    shared: Shared
    sessions: OpenSessions
    threads: int
    axes: Mapping[str, AxisRange] = field(default_factory=dict)
    precision: Precision = "fp32"
    reference: Graph | None = None
    graph: Graph | None = None
    golden: Golden | None = None
    left: Mapping[str, str] = field(default_factory=dict)
    sensitivity: Sensitivity | None = None
    by_layer: ParityByLayer | None = None
    engine: Engine | None = None
    not_built: str = ""
    rivals: Mapping[Precision, Rival] = field(default_factory=dict)
    refused: Mapping[Precision, str] = field(default_factory=dict)
    base: Draft | None = None
    choice: Choice | None = None
    fallback: FallbackEntry | None = None
    parity: Mapping[str, Mapping[str, Parity]] = field(default_factory=dict)
    parity_how: str = ""
    coverage: Coverage | None = None
    layers: tuple[Layer, ...] = ()
    training: TrainingRun | None = None
    task: TaskMetric | None = None
    sizes: Sizes | None = None
    latency: Mapping[str, Measurement] = field(default_factory=dict)
    latency_shape: str = ""
    conditions: tuple[Conditions, ...] = ()
    faster: Ratio | None = None
    evidence: tuple[Evidence, ...] = ()
    missing: Mapping[str, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    @property
    def bundle(self) -> str:
        """The name of the bundle's directory."""
        return f"{self.source.name}-{self.target.name}"

    def without(self, what: str, why: str) -> Draft:
        """The draft with one more thing that was not possible, and why."""
        return replace(self, missing={**self.missing, what: why})

    def with_parity(self, what: str, found: Mapping[str, Parity]) -> dict[str, Any]:
        """The `parity` field with one more comparison in it, for `dataclasses.replace`."""
        return {"parity": {**self.parity, what: found}}
