"""From what a form wrote to what is shipped, and to what answers for it where it is proven."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass, replace
from pathlib import Path

from ...backends.base import Engine, Graph
from ...backends.places import Place, Reference, engine_place
from ...backends.registry import load_backend
from ...profiles.device.precision import PrecisionName
from ...profiles.device.target import Target
from ...profiles.findings.evidence import Evidence
from ...profiles.findings.gap import Gap, joined
from ..candidates.judge import built_evidence, directory_bytes
from ..candidates.stand_in import stand_in
from ..language.writers.base import ToCompile, Written
from .task import TextTask


@dataclass(frozen=True, slots=True, kw_only=True)
class Made:
    """What became of the files of a form.

    Attributes:
        engine: in a directory of its own; None where the device builds it.
        not_built: why it does.
        graph: what the engine is compiled from; None where the engine is what was written.
        runs: what answers for the engine: itself, or its graph.
        place: where that runs.
    """

    runs: Engine
    place: Place
    engine: Engine | None = None
    not_built: str = ""
    graph: Graph | None = None
    evidence: tuple[Evidence, ...] = ()
    missing: tuple[Gap, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def size(self) -> int | None:
        """Bytes of the engine's directory."""
        return None if self.engine is None else directory_bytes(self.engine.path.parent)

    @property
    def target(self) -> Target:
        """What the engine is for, as it is or will be compiled."""
        return self.runs.target if self.engine is None else self.engine.target


def require(task: TextTask) -> None:
    """Check, before any work is done, that the engine can be proven, and built here or on the device.

    Raises:
        UnservedError: it cannot.
    """
    load_backend(task.target.backend).require(task.target)


def finished(task: TextTask, written: Written, precision: PrecisionName, digest: str) -> Made:
    """Compile what is to be compiled.

    Args:
        digest: of the weights in the graph.

    Raises:
        RefusedError: the compiler does not take the graph.
        UnservedError: what was written runs nowhere that this machine reaches.
    """
    if written.to_compile is None:
        engine = Engine(
            path=written.path,
            backend=task.target.backend,
            target=task.target,
            precision=precision,
            inputs=written.inputs,
            outputs=written.outputs,
        )
        return Made(engine=engine, runs=engine, place=engine_place(task.target, on=task.on))
    graph = _graph(written, written.to_compile, digest)
    target, place = written.to_compile.target, task.place
    if why := place.why_not_built(target):
        return _unbuilt(task, graph, target, precision, why)
    return _compiled(task, graph, target, precision)


def _graph(written: Written, known: ToCompile, digest: str) -> Graph:
    return Graph(
        path=written.path,
        inputs=written.inputs,
        outputs=written.outputs,
        opset=known.opset,
        digest=digest,
        axes=known.axes,
    )


def _compiled(task: TextTask, graph: Graph, target: Target, precision: PrecisionName) -> Made:
    place, backend = task.place, load_backend(target.backend)
    directory = Path(tempfile.mkdtemp(prefix=f"{precision}-engine-", dir=task.scratch))
    with task.step(f"{precision}, compiled"):
        engine = place.compile(graph, target, directory, precision)
    notes = list(engine.notes)
    if not backend.deterministic:
        notes.append(f"The compiler of {target.backend} is not deterministic: two builds may differ in bytes.")
    runs = place.runs(graph, target, precision, engine)
    assert runs is not None
    missing = () if place.itself else (_idle(target),)
    return Made(
        engine=engine,
        graph=graph,
        runs=runs,
        place=place,
        evidence=(built_evidence(engine, place),),
        missing=missing,
        notes=tuple(notes),
    )


def _idle(target: Target) -> Gap:
    why = load_backend(target.backend).available().reason
    return Gap(about="run", why=f"The engine was built but not run: {why}. Its graph was proven instead.")


def _unbuilt(task: TextTask, graph: Graph, target: Target, precision: PrecisionName, reason: str) -> Made:
    """What the device finishes; `require` has made sure that it can."""
    why, place = f"not built here, because {reason}", Reference()
    absent = Evidence(
        about="engine",
        claim=f"The engine is {why}",
        kind="absent",
        tool=target.backend,
        machine=str(task.place.machine),
    )
    name = f"{task.source.name}-{target.name}"
    todo = f"The engine is {why}. Copy the bundle to the device and run there: edgepress build {name}"
    found = stand_in(graph, target)
    said, gaps = ((), (found,)) if isinstance(found, Gap) else ((found,), ())
    return Made(
        not_built=why,
        graph=graph,
        runs=replace(place.runs(graph, target, precision, None), target=target),
        place=place,
        evidence=(absent, *said),
        missing=joined((Gap(about="engine", why=todo),), gaps),
    )
