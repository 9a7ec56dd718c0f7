"""Write what was found into the bundle: golden data, reports, manifest."""

from __future__ import annotations

import resource
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ...profiles.findings.profile import SizeSplit
from ...profiles.findings.report import Report
from ...profiles.machine.environment import now, this_machine, tool_versions
from ..candidates.judge import tolerance
from ..draft import Draft
from ..recipe import Recipe
from ..recipe_file import EXCLUSIVE, dump_recipe, overridden, recipe_data
from .manifest import EngineEntry, ModelEntry
from .seal import seal
from .sizes import size_split

RECIPE = "recipe.toml"


def write(draft: Draft, seconds: Mapping[str, float], command: str) -> None:
    """Write `golden/`, the recipe, the reports and `manifest.json` into the draft's directory."""
    assert draft.golden is not None
    draft.golden.save(draft.directory / "golden")
    (draft.directory / RECIPE).write_text(dump_recipe(_portable(draft.recipe)), encoding="utf-8")
    seal(draft.directory, draft.bundle, _manifest_fields(draft), report_of(draft, seconds, command), draft.latency)


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
        layers=draft.layers,
        size=_size(draft),
        left_float=draft.left if draft.precision == "int8" else {},
        choice=draft.choice,
        sensitivity=draft.sensitivity,
        by_layer=draft.by_layer if draft.precision == "int8" else None,
        task=draft.task,
        pruning=draft.pruning,
        sparsity=draft.sparsity,
        training=draft.training,
        latency={name: found.latency() for name, found in draft.latency.items()},
        latency_shape=draft.latency_shape,
        before=draft.conditions[0] if draft.conditions else None,
        after=draft.conditions[-1] if draft.conditions else None,
        threads=draft.threads,
        faster=draft.faster,
        peak_memory=peak_memory(),
        stage_seconds=seconds,
        missing=draft.missing,
        notes=draft.notes,
    )


def _size(draft: Draft) -> SizeSplit:
    assert draft.graph is not None
    engine = None if draft.engine is None else draft.engine.path
    return size_split(draft.graph.path, engine)


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
        "recipe": recipe_data(_portable(draft.recipe)),
        "engine": EngineEntry(backend=draft.backend.name, precision=draft.precision, path=engine, why=draft.not_built),
        "minimum_sqnr_db": round(tolerance(draft), 2),
        "fallback": draft.fallback,
        "tools": tool_versions(),
    }


def _portable(recipe: Recipe) -> Recipe:
    """The recipe with the names of data files, but not where they lie on this machine."""
    named = {name: value for name in EXCLUSIVE if (value := getattr(recipe, name)) is not None}
    return overridden(recipe, {name: Path(value).name for name, value in named.items()})
