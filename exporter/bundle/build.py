"""What a device does with a bundle: verify it, and finish the engine that only it can build.

Nothing here needs torch or onnx.
"""

from __future__ import annotations

import shutil
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory

from ...backends.base import Backend, Engine
from ...backends.registry import load_backend
from ...errors import UnservedError
from ...profiles.findings.evidence import Evidence
from ...profiles.findings.layers import coverage, untimed
from ...profiles.findings.parity import Parity
from ...profiles.findings.report import Report
from ...profiles.machine.conditions import disturbances
from ...profiles.machine.environment import now, this_machine, tool_versions, usable_cores
from ...profiles.timing.measurement import Measurement, speedup
from ..candidates.contest import Contest, contest
from ..candidates.judge import check_golden, golden_evidence, is_device
from ..capture.golden import Golden
from .manifest import FALLBACK, LATENCY, MANIFEST, Bundle, Manifest, check_files, load_bundle, new_directory
from .seal import load_report, seal
from .sizes import size_split


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What a verification found: files whose hash is right, parity by output, and on what it ran."""

    files: int
    parity: dict[str, Parity]
    tool: str
    on_device: bool


def verify_bundle(path: Path) -> Verdict:
    """Check every hash, then run the engine on the golden inputs.

    Raises:
        VerificationError: a file differs, or the outputs do not agree with the FP32 model's.
        UnservedError: the engine is not built yet, or its runtime is not on this machine.
    """
    bundle = load_bundle(path)
    files = check_files(bundle)
    engine = bundle.engine
    if engine is None:
        raise UnservedError(
            f"{path}: {files} files are intact, but the engine is {bundle.manifest.engine.why}.",
            hint=f"On the device, run: edgepress build {path}",
        )
    backend = load_backend(engine.backend)
    here = backend.available()
    if not here.run:
        raise UnservedError(
            f"{path}: {files} files are intact, but {engine.backend} cannot run on this machine: {here.reason}.",
            hint=here.remedy or None,
        )
    with backend.open(engine, bundle.manifest.target, usable_cores()) as session:
        parity = check_golden(Golden.load(path / "golden"), session, bundle.manifest.minimum_sqnr_db)
    return Verdict(
        files=files, parity=parity, tool=backend.available().version, on_device=is_device(bundle.manifest.target)
    )


def build_bundle(path: Path) -> Bundle:
    """Compile the engine on this machine, prove and measure it, and replace the bundle as a whole.

    Where the export could not measure which precision is the fastest, and so sent a float graph along, both are built
    and measured here, and the bundle becomes that of the precision that is to be shipped.

    Raises:
        VerificationError: a file of the bundle differs, or the built engine does not agree with the FP32 model.
        UnservedError: this machine cannot build for the bundle's target.
        InputError: the compiler refuses the graph.
    """
    path = path.resolve()  # `.` has no name to put the new bundle under
    bundle = load_bundle(path)
    check_files(bundle)
    manifest, golden = bundle.manifest, Golden.load(path / "golden")
    backend = load_backend(manifest.engine.backend)
    with new_directory(path, force=True) as work, TemporaryDirectory(prefix="edgepress-") as scratch:
        found = contest(bundle, backend, golden, Path(scratch))
        engine = _laid_out(bundle, found, work)
        report = _renewed(load_report(path), backend, engine, found, manifest)
        report = _measured(_proven(report, backend, engine, found, manifest, golden), found, golden)
        entry = replace(manifest.engine, precision=found.shipped, path=engine.path.relative_to(work).as_posix(), why="")
        fields = {
            "model": replace(manifest.model, graph_digest=found.winner.graph.digest),
            "target": manifest.target,
            "recipe": manifest.recipe,
            "minimum_sqnr_db": found.winner.minimum_sqnr_db,
            "fallback": None if found.settled else manifest.fallback,
            "engine": entry,
            "tools": tool_versions(),
        }
        seal(work, path.name, fields, report, _arms(found))
    return load_bundle(path)


def _laid_out(bundle: Bundle, found: Contest, work: Path) -> Engine:
    """Fill the new directory: what stays, the graph and the engine that won."""
    replaced = {"engine", MANIFEST, LATENCY}
    if found.settled:
        replaced.add(Path(FALLBACK).parent.name)
    graph, engine = found.winner.graph.path, found.winner.engine
    if graph != bundle.graph.path:
        replaced.update(file.name for file in bundle.path.glob("model.onnx*"))
    shutil.copytree(bundle.path, work, dirs_exist_ok=True, ignore=lambda _, names: replaced & set(names))
    if graph != bundle.graph.path:
        for file in graph.parent.glob("model.onnx*"):
            shutil.copyfile(file, work / file.name)
    shutil.copytree(engine.path.parent, work / "engine")
    return replace(engine, path=work / "engine" / engine.path.name)


def _arms(found: Contest) -> dict[str, Measurement]:
    """Latencies by the names that a report gives them."""
    return {"engine" if precision == found.shipped else precision: m for precision, m in found.found.items()}


def _renewed(report: Report, backend: Backend, engine: Engine, found: Contest, manifest: Manifest) -> Report:
    """The report without what is no longer missing, and without what was found of an engine that is replaced."""
    same = found.shipped == manifest.engine.precision
    kept = tuple(e for e in report.evidence if e.kind != "absent" and "model.onnx" in e.claim and same)
    built = Evidence(
        claim=f"{engine.path.name} was compiled for {manifest.target.name}",
        kind="built",
        tool=backend.available().version,
        machine=str(this_machine()),
    )
    gone = ("engine", "parser", "coverage", "latency", "disturbed", "steady", "precision")
    missing = {what: why for what, why in report.missing.items() if not what.startswith(gone)}
    if not backend.available().run:
        missing["engine run"] = f"The engine was built but not run: {backend.available().reason}."
    weights = report.sizes.weights if same else found.winner.graph.path.stat().st_size
    return replace(
        report,
        precision=found.shipped,
        evidence=(*kept, built),
        missing=missing,
        sizes=replace(report.sizes, engine=found.winner.size, weights=weights),
        size=size_split(found.winner.graph.path, found.winner.engine.path),
        layers=(),
        coverage=None,
        by_layer=report.by_layer if same else None,
        latency={},
        before=None,
        after=None,
        faster=None,
        choice=found.choice(report.choice) if report.choice is not None and found.settled else report.choice,
        notes=(*report.notes, *engine.notes),
        machine=this_machine(),
        tools=tool_versions(),
        date=now(),
    )


def _proven(
    report: Report, backend: Backend, engine: Engine, found: Contest, manifest: Manifest, golden: Golden
) -> Report:
    """Golden outputs, and int8 coverage, of the engine on this machine."""
    parity = found.winner.parity
    if not parity:
        return report
    on_device = is_device(manifest.target)
    layers = backend.inspect(engine, manifest.target, golden.feeds[0])
    proof = golden_evidence(parity, backend.available().version, "the engine", on_device=on_device)
    return replace(
        report,
        parity={**report.parity, "engine": parity},
        parity_how="the engine",
        coverage=coverage(layers) if engine.precision == "int8" else None,
        layers=layers if on_device else untimed(layers),
        evidence=(*report.evidence, proof),
    )


def _measured(report: Report, found: Contest, golden: Golden) -> Report:
    """Latencies; a choice that lost int8 is said where it is seen."""
    arms = _arms(found)
    missing = dict(report.missing)
    for reason in disturbances(*found.conditions) if found.conditions else ():
        missing[f"disturbed {reason}"] = f"The latencies are not the machine's own: {reason}."
    if report.choice is not None and found.settled and found.shipped != "int8":
        missing["precision"] = f"int8 was not kept. {report.choice.because}"
    return replace(
        report,
        missing=missing,
        before=found.conditions[0] if found.conditions else None,
        after=found.conditions[-1] if found.conditions else None,
        latency={name: m.latency() for name, m in arms.items()},
        latency_shape=", ".join(f"{name} {array.shape}" for name, array in golden.feeds[0].items()) if arms else "",
        faster=speedup(arms["fp32"], arms["engine"]) if "fp32" in arms else None,
        threads=usable_cores() if arms else report.threads,
    )
