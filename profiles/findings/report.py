"""What an export found, as one value; `reporting` shows it to people."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Annotated

from pydantic import BeforeValidator

from ..budget.verdict import Verdict
from ..device.precision import GIVEN, SHIPPED, PrecisionName, load_precision
from ..machine.conditions import Conditions
from ..machine.environment import Machine
from ..timing.measurement import Latency
from ..timing.ratio import Ratio
from . import language
from .choice import Choice
from .evidence import Evidence
from .gap import About, Gap, of_schema_1, why_missing
from .ladder import Ladder
from .language import Language
from .layers import Coverage, Layer
from .lineage import LineageStep
from .parity import Parity
from .profile import SizeSplit
from .pruning import Pruning, Sparsity, millions
from .sensitivity import ParityByLayer, Sensitivity
from .training import TrainingRun

SCHEMA = 2  # 1 had `missing` as a mapping, and no `about` of evidence; it is still read
OLDEST = 1
SHOWN = (50, 90, 95, 99)  # percentiles


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskMetric:
    """The user's own metric, higher is better, of the FP32 model and of what is shipped.

    `how` says what ran: the engine itself, or the graph it is built from on another runtime.
    """

    before: float
    after: float
    how: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Sizes:
    """Bytes on disk; None where nothing was compiled here."""

    weights_fp32: int
    weights: int
    engine_fp32: int | None = None
    engine: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """Everything an export found.

    Attributes:
        parity: agreement with the FP32 model, by what was compared (`capture`, `engine`), then by output.
        parity_how: what ran for `engine`.
        coverage: int8 coverage of the opened engine; None where it is not int8 or could not be read.
        layers: of the opened engine, with times where it ran on the device's architecture.
        size: bytes by file and by layer of the graph.
        left_float: why the quantizer left a node float, by node name.
        latency: by arm (`torch`, `fp32`, `engine`), one inference of `latency_shape`.
        before: the machine under load, before the first sample of the latencies; `after` behind the last one.
        choice: which precision is shipped, and why; None where there was nothing to choose from.
        budget: for each limit that was set, whether it was kept.
        sensitivity: which layers int8 hurts, where something was required of it.
        ladder: what was tried where int8 missed what was asked; None where it did not, or nothing was tried.
        by_layer: how far the layers of the int8 graph are from FP32.
        pruning: what was removed before capture.
        sparsity: 2:4 weights of the graph, where they were asked for.
        training: how it was trained, where it was made smaller before capture.
        lineage: from the source to the engine, as the manifest has it.
        language: what is known of a decoder; None for every other model.
        missing: what was not possible or not done, and why.
        stage_seconds: wall time of each stage.
    """

    model: str
    target: str
    target_title: str
    backend: str
    precision: PrecisionName
    evidence: tuple[Evidence, ...]
    parity: Mapping[str, Mapping[str, Parity]]
    parity_how: str
    sizes: Sizes
    machine: Machine
    tools: Mapping[str, str]
    date: str
    command: str
    schema: int = SCHEMA
    coverage: Coverage | None = None
    layers: tuple[Layer, ...] = ()
    size: SizeSplit | None = None
    left_float: Mapping[str, str] = field(default_factory=dict)
    task: TaskMetric | None = None
    pruning: Pruning | None = None
    sparsity: Sparsity | None = None
    training: TrainingRun | None = None
    lineage: tuple[LineageStep, ...] = ()
    language: Language | None = None
    sensitivity: Sensitivity | None = None
    ladder: Ladder | None = None
    by_layer: ParityByLayer | None = None
    latency: Mapping[str, Latency] = field(default_factory=dict)
    latency_shape: str = ""
    before: Conditions | None = None
    after: Conditions | None = None
    threads: int = 0
    faster: Ratio | None = None
    choice: Choice | None = None
    budget: tuple[Verdict, ...] = ()
    peak_memory: int = 0
    stage_seconds: Mapping[str, float] = field(default_factory=dict)
    missing: Annotated[tuple[Gap, ...], BeforeValidator(of_schema_1)] = ()
    notes: tuple[str, ...] = ()

    @property
    def steady(self) -> bool:
        """Whether each engine that was timed reached a steady state; the model as given decides nothing."""
        return all(timed.stable for arm, timed in self.latency.items() if arm != GIVEN)

    def why_no(self, about: About, otherwise: str = "") -> str:
        """Why something is missing, a sentence; or what is said where the report does not tell."""
        return why_missing(self.missing, about, otherwise)


def rows(report: Report) -> Iterator[tuple[str, str, str]]:
    """(what, FP32, shipped): the table a person wants to read, only with what was found."""
    sizes = report.sizes
    yield (
        "weights",
        megabytes(sizes.weights_fp32),
        f"{megabytes(sizes.weights)}{_times(sizes.weights_fp32, sizes.weights)}",
    )
    if sizes.engine is not None:
        before = "" if sizes.engine_fp32 is None else megabytes(sizes.engine_fp32)
        yield "engine", before, f"{megabytes(sizes.engine)}{_times(sizes.engine_fp32, sizes.engine)}"
    for p in _carried(report):
        yield f"latency p{p}", _latency(report, "fp32", p), _latency(report, SHIPPED, p)
    if report.faster is not None:
        yield "speed-up, 95 % interval", "1", f"{report.faster}{'' if report.steady else ' (unstable)'}"
    if GIVEN in report.latency:
        yield "torch latency p50", _latency(report, GIVEN, 50), ""
    if report.task is not None:
        yield "task metric", f"{report.task.before:.4f}", f"{report.task.after:.4f}"
    if report.pruning is not None:
        after = f"{millions(report.pruning.macs_after)} ({report.pruning.removed:.1%} removed)"
        yield "MACs, as given and pruned", millions(report.pruning.macs_before), after
    if report.sparsity is not None:
        yield "2:4 sparse", "", str(report.sparsity)
    if report.training is not None and report.training.after is not None:
        run = report.training
        yield f"task metric, before and after {run.purpose}", f"{run.before:.4f}", f"{run.after:.4f}"
    yield "proven with", "", report.parity_how
    for name, found in report.parity.get("engine", {}).items():
        yield f"parity of {name}", "", str(found)
    if report.language is not None:
        yield from language.rows(report.language)
    if report.coverage is not None:
        yield "int8 coverage", "", f"{report.coverage} of the conv, matmul and gemm layers"
    if report.choice is not None:
        yield "precision", "", report.choice.summary
    if report.sensitivity is not None and load_precision(report.precision).integer:
        if report.ladder is not None:
            yield "ladder", "", report.ladder.summary
        if report.ladder is None or report.sensitivity.left:
            yield "left in float for accuracy", "", report.sensitivity.summary
    for verdict in report.budget:
        yield f"budget, {verdict.what}", "", verdict.said


def megabytes(size: int) -> str:
    """A size for people: `1.23 MB` (10^6 bytes), kB below a tenth of that, bytes below one."""
    if size < 1000:
        return f"{size} B"
    return f"{size / 1e6:.2f} MB" if size >= 100_000 else f"{size / 1e3:.1f} kB"


def _times(before: int | None, after: int) -> str:
    return f" ({before / after:.1f}x smaller)" if before and after and before > 1.05 * after else ""


def _carried(report: Report) -> list[int]:
    """The percentiles that the samples of the engine, or of FP32, carry."""
    arms = [report.latency[arm] for arm in ("engine", "fp32") if arm in report.latency]
    return [p for p in SHOWN if any(percentile(found, p) is not None for found in arms)]


def _latency(report: Report, arm: str, p: int) -> str:
    if arm not in report.latency:
        return ""
    found = report.latency[arm]
    return f"{latency_text(found, p)}{'' if found.stable else ' (unstable)'}"


def percentile(found: Latency, p: int) -> float | None:
    """A percentile in milliseconds; None where the samples do not carry it."""
    return {50: found.p50, 90: found.p90, 95: found.p95, 99: found.p99}[p]


def latency_text(found: Latency, p: int) -> str:
    """A percentile with its 95 % interval, for people."""
    value, interval = percentile(found, p), found.intervals.get(p)
    if value is None:
        return "too few samples"
    return f"{value:.3f} ms" if interval is None else f"{value:.3f} ms [{interval.low:.3f}, {interval.high:.3f}]"
