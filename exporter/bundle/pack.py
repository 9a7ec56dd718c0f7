"""The last stage: lay out what is shipped, and write what was found of it: golden data, reports, manifest."""

from __future__ import annotations

import resource
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ...backends.base import AxisRange, Graph
from ...backends.registry import tool_versions
from ...errors import VerificationError
from ...profiles.device.precision import SHIPPED, load_precision
from ...profiles.device.target import Target
from ...profiles.findings.gap import Gap, joined
from ...profiles.findings.ladder import Ladder
from ...profiles.findings.lineage import LineageStep
from ...profiles.findings.profile import SizeSplit
from ...profiles.findings.pruning import Pruning
from ...profiles.findings.report import Report, Sizes
from ...profiles.findings.training import TrainingRun
from ...profiles.machine.environment import now, this_machine
from ...profiles.timing.in_turn import Timed
from ...profiles.timing.measurement import Measurement
from ...profiles.timing.ratio import speedup
from ..candidates.candidate import Candidate
from ..candidates.choose import Decision
from ..candidates.judge import least_graph_db, lenient
from ..candidates.stages import Entries
from ..capture.captured import Captured
from ..capture.golden import Golden
from ..graphs.files import weight_bytes
from ..recipe import Recipe
from ..recipe_file import EXCLUSIVE, dump_recipe, overridden, recipe_data
from ..sources import Source
from ..workshop import Workshop
from .consistent import proof_of
from .directory import engine_laid_in, recipe_laid_in
from .lineage import captured_step, lowered_steps, with_engine
from .manifest import FALLBACK, EngineEntry, FallbackEntry, ModelEntry, load_bundle
from .seal import seal
from .shapes import as_seen
from .sizes import size_split

RECIPE = "recipe.toml"
NEEDS = (
    "source",
    "target",
    "recipe",
    "axes",
    "workshop",
    "pruning",
    "training",
    "captured",
    "candidates",
    "timed",
    "decision",
    "lineage",
    "missing",
)


def run(
    *,
    source: Source,
    target: Target,
    recipe: Recipe,
    axes: Mapping[str, AxisRange],
    workshop: Workshop,
    pruning: Pruning | None,
    training: TrainingRun | None,
    captured: Captured,
    candidates: Entries,
    timed: Timed | None,
    decision: Decision | None,
    lineage: tuple[LineageStep, ...],
    missing: tuple[Gap, ...],
    name: str,
    seconds: Mapping[str, float],
    command: str,
) -> None:
    """Fill the workshop's directory with the bundle.

    Args:
        name: that the directory will have.
        seconds: wall time of each stage.
        command: how to do it again.
    """
    _Packing(
        source=source,
        target=target,
        recipe=recipe,
        axes=axes,
        workshop=workshop,
        pruning=pruning,
        training=training,
        captured=captured,
        candidates=tuple(entry for entry in candidates if isinstance(entry, Candidate)),
        ladder=next((entry.ladder for entry in candidates if entry.ladder is not None), None),
        timed=timed,
        decision=decision,
        lineage=lineage,
        missing=missing,
    ).write(name, seconds, command)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Packing:
    """What goes into a bundle."""

    source: Source
    target: Target
    recipe: Recipe
    axes: Mapping[str, AxisRange]
    workshop: Workshop
    pruning: Pruning | None
    training: TrainingRun | None
    captured: Captured
    candidates: tuple[Candidate, ...]
    ladder: Ladder | None
    timed: Timed | None
    decision: Decision | None
    lineage: tuple[LineageStep, ...]
    missing: tuple[Gap, ...]

    @property
    def winner(self) -> Candidate:
        """What is shipped."""
        return self.candidates[0] if self.decision is None else self.decision.winner

    def write(self, name: str, seconds: Mapping[str, float], command: str) -> None:
        """Everything, the manifest last."""
        directory = self.workshop.directory
        graph, engine = self._laid_out()
        self._golden().save(directory / "golden")
        (directory / RECIPE).write_text(dump_recipe(portable(self.recipe)), encoding="utf-8")
        latency = self._latency()
        report = self._report(size_split(graph.path, engine), latency, seconds, command)
        seal(directory, name, self._manifest(graph, engine), report, latency)
        _prove(directory)

    def _golden(self) -> Golden:
        own = self.winner.own_golden
        return replace(self.captured.golden, graph=() if own is None else own.outputs)

    def _laid_out(self) -> tuple[Graph, Path | None]:
        """Put the winner's graph and engine, or what the device builds it with, into their places."""
        directory, winner = self.workshop.directory, self.winner
        graph = copied(winner.graph, directory)
        fallback = None if self.decision is None else self.decision.fallback
        if fallback is not None:
            place = (directory / FALLBACK).parent
            place.mkdir()
            copied(fallback.graph, place)
        if winner.engine is not None:
            return graph, engine_laid_in(directory, winner.engine).path
        recipe_laid_in(directory, graph, self.target, winner.precision)
        return graph, None

    def _latency(self) -> dict[str, Measurement]:
        """Latencies by what ran in the end: the engine that is shipped, the others by their names."""
        taken = {} if self.timed is None else dict(self.timed.latency)
        if self.winner.precision not in taken:
            return taken
        return {SHIPPED: taken.pop(self.winner.precision), **taken}

    def _sizes(self) -> Sizes:
        of = {entry.precision: entry.size for entry in (*self.candidates, self.winner)}
        return Sizes(
            weights_fp32=weight_bytes(self.captured.graph.path),
            weights=self.winner.weights,
            engine_fp32=of.get("fp32"),
            engine=self.winner.size,
        )

    def _missing(self, latency: Mapping[str, Measurement]) -> tuple[Gap, ...]:
        """What was not possible, of the export and of what is shipped; and what is not as it should be."""
        unsteady = [arm for arm, measurement in latency.items() if not measurement.stable]
        gaps = [Gap(about="steady", why=f"Latency of {a} did not reach a steady state.", subject=a) for a in unsteady]
        return joined(self.missing, self.winner.missing, gaps)

    def _notes(self) -> tuple[str, ...]:
        fallback = None if self.decision is None else self.decision.fallback
        if fallback is None:
            return self.winner.notes
        text = (
            f"{FALLBACK} is the {fallback.precision} graph: edgepress build measures it against "
            f"{self.winner.precision} on the device."
        )
        return (*self.winner.notes, text)

    def _report(
        self, size: SizeSplit, latency: Mapping[str, Measurement], seconds: Mapping[str, float], command: str
    ) -> Report:
        winner, timed, feed = self.winner, self.timed, self.captured.golden.feeds[0]
        shape = ", ".join(f"{name} {tuple(array.shape)}" for name, array in feed.items())
        integer = load_precision(winner.precision).integer
        return Report(
            model=self.source.name,
            target=self.target.name,
            target_title=self.target.title,
            backend=self.target.backend,
            precision=winner.precision,
            evidence=(*self.captured.evidence, *winner.evidence),
            parity={"capture": self.captured.parity, "engine": winner.parity},
            parity_how=winner.how,
            sizes=self._sizes(),
            machine=this_machine() if timed is None else self.workshop.place.machine,
            tools=self._tools(),
            date=now(),
            command=command,
            coverage=winner.coverage,
            layers=winner.layers,
            size=size,
            left_float=winner.left if integer else {},
            choice=None if self.decision is None else self.decision.told,
            sensitivity=self._sensitivity(),
            ladder=self.ladder,
            by_layer=winner.by_layer if integer else None,
            task=winner.task,
            pruning=self.pruning,
            sparsity=winner.sparsity,
            training=self.training,
            latency={arm: measurement.latency() for arm, measurement in latency.items()},
            latency_shape="" if timed is None else shape,
            before=None if timed is None else timed.before,
            after=None if timed is None else timed.after,
            threads=self.workshop.threads,
            faster=speedup(latency["fp32"], latency[SHIPPED]) if {"fp32", SHIPPED} <= latency.keys() else None,
            peak_memory=peak_memory(),
            stage_seconds=seconds,
            missing=self._missing(latency),
            notes=self._notes(),
        )

    def _tools(self) -> dict[str, str]:
        """What made the graph here, and what compiled and ran it where it was judged."""
        return {**tool_versions(), **self.workshop.place.tools()}

    def _sensitivity(self) -> Any:
        """What int8 does to the layers is worth knowing where another precision is shipped, too."""
        return next((entry.sensitivity for entry in self.candidates if entry.sensitivity is not None), None)

    def _manifest(self, graph: Graph, engine: Path | None) -> dict[str, Any]:
        directory, winner, golden = self.workshop.directory, self.winner, self._golden()
        path = None if engine is None else engine.relative_to(directory).as_posix()
        return {
            "model": ModelEntry(
                name=self.source.name,
                source_kind=self.source.kind,
                source_digest=self.source.digest,
                graph_digest=graph.digest,
                opset=graph.opset,
                inputs=graph.inputs,
                outputs=as_seen(graph.outputs, (*golden.outputs, *golden.graph)),
                axes=self.axes,
                licence=self.source.licence,
            ),
            # The engine's own: a remedy may have set an option of its runtime.
            "target": self.target if winner.engine is None else winner.engine.target,
            "recipe": recipe_data(portable(self.recipe)),
            "engine": EngineEntry(
                backend=self.target.backend, precision=winner.precision, path=path, why=winner.not_built
            ),
            "minimum_sqnr_db": round(lenient(winner.least_db, winner.parity), 2),
            "minimum_graph_db": None if winner.own_golden is None else round(least_graph_db(winner.own_golden), 2),
            "golden": len(golden.feeds),
            "fallback": self._fallback_entry(),
            "lineage": self._lineage(engine),
            "tools": self._tools(),
        }

    def _lineage(self, engine: Path | None) -> tuple[LineageStep, ...]:
        """How the source that was given became what is shipped."""
        source, reference = self.source, self.captured.graph.digest
        steps = [*self.lineage, captured_step(source.digest, reference, source.kind)]
        fallback = None if self.decision is None else self.decision.fallback
        for candidate in (self.winner, fallback):
            if candidate is not None:
                steps += lowered_steps(reference, candidate)
        graph = self.winner.graph.digest
        return (
            tuple(steps)
            if engine is None
            else with_engine(steps, graph, self.workshop.place.compiler(self.target), self.workshop.directory)
        )

    def _fallback_entry(self) -> FallbackEntry | None:
        fallback = None if self.decision is None else self.decision.fallback
        if fallback is None:
            return None
        least = round(lenient(fallback.least_db, fallback.parity), 2)
        return FallbackEntry(precision=fallback.precision, graph_digest=fallback.graph.digest, minimum_sqnr_db=least)


def _prove(directory: Path) -> None:
    """What is refused where it is verified is refused here.

    Raises:
        VerificationError: the bundle does not hold together.
    """
    try:
        proof_of(load_bundle(directory))
    except VerificationError as error:
        said = error.message.removeprefix(f"{directory}: ")
        raise VerificationError(
            f"The bundle that was made would not verify: {said}", hint="Report this as a fault of edgepress."
        ) from error


def copied(graph: Graph, directory: Path) -> Graph:
    """The graph with its external data, in another directory."""
    for file in graph.path.parent.glob(f"{graph.path.name}*"):
        shutil.copyfile(file, directory / file.name)
    return replace(graph, path=directory / graph.path.name)


def peak_memory() -> int:
    """Largest resident set of this process so far, in bytes (getrusage reports kilobytes on Linux)."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def portable(recipe: Recipe) -> Recipe:
    """The recipe with the names of data files, but not where they lie on this machine."""
    named = {name: value for name in EXCLUSIVE if (value := getattr(recipe, name)) is not None}
    return overridden(recipe, {"contact_sheet": None, **{name: Path(value).name for name, value in named.items()}})
