"""Write what was found into the bundle: golden data, reports, manifest."""

from __future__ import annotations

import resource
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from ...profiles.environment import now, this_machine, tool_versions
from ...profiles.report import Report
from ..bundle import EngineEntry, ModelEntry
from ..draft import Draft
from ..seal import seal
from .verify import tolerance


def write(draft: Draft, seconds: Mapping[str, float], command: str) -> None:
    """Write `golden/`, the reports and `manifest.json` into the draft's directory."""
    assert draft.golden is not None
    draft.golden.save(draft.directory / "golden")
    seal(draft.directory, _manifest_fields(draft), report_of(draft, seconds, command), draft.latency)


def report_of(draft: Draft, seconds: Mapping[str, float], command: str) -> Report:
    """The report of a finished draft."""
    assert draft.sizes is not None
    return Report(
        model=draft.source.name,
        target=draft.target.name,
        target_title=draft.target.title,
        backend=draft.backend.name,
        precision=draft.precision,
        evidence=draft.evidence,
        parity=draft.parity,
        parity_how=draft.parity_how,
        sizes=draft.sizes,
        machine=this_machine(),
        tools=tool_versions(),
        date=now(),
        command=command,
        coverage=draft.coverage,
        task=draft.task,
        latency={name: found.latency() for name, found in draft.latency.items()},
        latency_shape=draft.latency_shape,
        threads=draft.threads,
        faster=draft.faster,
        peak_memory=peak_memory(),
        stage_seconds=seconds,
        missing=draft.missing,
        notes=draft.notes,
    )


def peak_memory() -> int:
    """Largest resident set of this process so far, in bytes (getrusage reports kilobytes on Linux)."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def _manifest_fields(draft: Draft) -> dict[str, Any]:
    graph = draft.graph
    assert graph is not None
    engine = None if draft.engine is None else draft.engine.path.relative_to(draft.directory).as_posix()
    return {
        "model": ModelEntry(
            name=draft.source.name,
            source_kind=draft.source.kind,
            source_digest=draft.source.digest,
            graph_digest=graph.digest,
            opset=graph.opset,
            inputs=graph.inputs,
            outputs=graph.outputs,
            axes=draft.axes,
        ),
        "target": draft.target,
        "recipe": _recipe(draft),
        "engine": EngineEntry(backend=draft.backend.name, precision=draft.precision, path=engine, why=draft.not_built),
        "minimum_sqnr_db": round(tolerance(draft), 2),
        "tools": tool_versions(),
    }


def _recipe(draft: Draft) -> dict[str, Any]:
    """The recipe without paths of this machine."""
    recipe = asdict(draft.recipe)
    recipe["calibration"] = None if draft.recipe.calibration is None else "a path"
    return recipe
