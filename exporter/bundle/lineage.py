"""The lineage of what lies in a bundle. Nothing here needs torch or onnx."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from ...errors import VerificationError
from ...profiles.findings.lineage import LineageStep, ancestry, breaks
from ...profiles.machine.environment import installed
from ..candidates.candidate import Candidate
from .files import AGAIN
from .manifest import Bundle, FileEntry, Manifest, hash_files

ENGINE = "engine/"


def captured_step(source: str, graph: str, kind: str) -> LineageStep:
    """From a source's digest to that of its graph."""
    return LineageStep(what="capture", before=source, after=graph, by=_tool("onnx" if kind == "onnx" else "torch"))


def lowered_steps(reference: str, candidate: Candidate) -> Iterator[LineageStep]:
    """From the captured graph's digest to that of a candidate; nothing where it is the same graph."""
    if candidate.graph.digest == reference:
        return
    beside = {}
    if (found := candidate.calibrated) is not None:
        data = {"calibration data": found.data}
        yield LineageStep(
            what="calibrate", before=reference, after=found.statistics, beside=data, by=_tool("onnxruntime")
        )
        beside = {"statistics": found.statistics}
    after = candidate.graph.digest
    yield LineageStep(what=candidate.precision, before=reference, after=after, beside=beside, by=_tool("edgepress"))


def with_engine(steps: Sequence[LineageStep], graph: str, by: str, directory: Path) -> tuple[LineageStep, ...]:
    """The steps with the one that compiled the engine that lies in a bundle's directory.

    Args:
        by: the compiler, with its version.
    """
    files = {f"{ENGINE}{name}": entry for name, entry in hash_files(directory / ENGINE)[0].items()}
    kept = tuple(step for step in steps if step.what != "compile")
    return (*kept, LineageStep(what="compile", before=graph, after=engine_digest(files), by=by))


def shipped_lineage(steps: Sequence[LineageStep], graph: str, others: Sequence[str] = ()) -> tuple[LineageStep, ...]:
    """The steps that lead to a bundle's engine and to the graphs that lie in it."""
    ends = (step.after for step in steps if step.what == "compile")
    wanted = {step for end in (graph, *others, *ends) for step in map(_key, ancestry(steps, end))}
    return tuple(step for step in steps if _key(step) in wanted)


def engine_digest(files: Mapping[str, FileEntry]) -> str:
    """Sha256 in hex over the names and hashes of an engine's files, in the order of their names."""
    lines = (f"{name} {entry.sha256}\n" for name, entry in sorted(files.items()) if name.startswith(ENGINE))
    return hashlib.sha256("".join(lines).encode()).hexdigest()


def check_lineage(bundle: Bundle) -> None:
    """See that a bundle's lineage hangs together, and ends at what lies in it.

    Raises:
        VerificationError: it does not. Bundles of earlier revisions have none, and pass.
    """
    if faults := tuple(_faults(bundle.manifest)) if bundle.manifest.lineage else ():
        raise VerificationError(
            f"{bundle.path}: its lineage is not that of its files: {'; '.join(faults)}.",
            hint=AGAIN,
        )


def _faults(manifest: Manifest) -> Iterator[str]:
    steps = manifest.lineage
    yield from breaks(steps)
    made = {step.after for step in steps}
    if manifest.model.graph_digest not in made:
        yield "no step gave its graph"
    if manifest.fallback is not None and manifest.fallback.graph_digest not in made:
        yield "no step gave the graph in fallback/"
    compiled = {step.after: step.before for step in steps if step.what == "compile"}
    if manifest.engine.path is None:
        return
    if compiled != {engine_digest(manifest.files): manifest.model.graph_digest}:
        yield "its engine is not the one that was compiled of its graph"


def _key(step: LineageStep) -> tuple[str, str, str]:
    return step.what, step.before, step.after


def _tool(package: str) -> str:
    return f"{package} {installed(package)}".strip()
