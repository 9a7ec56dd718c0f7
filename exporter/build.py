"""What a device does with a bundle: verify it, and finish the engine that only it can build.

Nothing here needs torch or onnx.
"""

from __future__ import annotations

import shutil
from dataclasses import dataclass, replace
from pathlib import Path

from ..backends.base import Backend, Engine
from ..backends.registry import load_backend
from ..errors import UnservedError
from ..profiles.environment import now, this_machine, tool_versions, usable_cores
from ..profiles.evidence import Evidence
from ..profiles.layers import coverage
from ..profiles.measure import Measurement, measure
from ..profiles.parity import Parity
from ..profiles.report import Report
from .bundle import LATENCY, MANIFEST, Bundle, Manifest, check_files, load_bundle, new_directory
from .golden import Golden
from .seal import load_report, seal
from .stages.verify import check_golden, golden_evidence, is_device


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

    Raises:
        VerificationError: a file of the bundle differs, or the built engine does not agree with the FP32 model.
        UnservedError: this machine cannot build for the bundle's target.
        InputError: the compiler refuses the graph.
    """
    path = path.resolve()  # `.` has no name to put the new bundle under
    bundle = load_bundle(path)
    check_files(bundle)
    manifest = bundle.manifest
    backend = load_backend(manifest.engine.backend)
    with new_directory(path, force=True) as work:
        shutil.copytree(path, work, dirs_exist_ok=True, ignore=_replaced)
        (work / "engine").mkdir()
        graph = replace(bundle.graph, path=work / "model.onnx")
        engine = backend.compile(graph, manifest.target, work / "engine", manifest.engine.precision)
        report = load_report(path)
        built = Evidence(
            claim=f"{engine.path.name} was compiled for {manifest.target.name}",
            kind="built",
            tool=backend.available().version,
            machine=str(this_machine()),
        )
        report = _renewed(report, built, engine)
        latency: dict[str, Measurement] = {}
        if backend.available().run:
            report, latency = _prove(report, backend, engine, manifest, Golden.load(work / "golden"))
        entry = replace(manifest.engine, path=engine.path.relative_to(work).as_posix(), why="")
        fields = {name: getattr(manifest, name) for name in ("model", "target", "recipe", "minimum_sqnr_db")}
        seal(work, {**fields, "engine": entry, "tools": tool_versions()}, report, latency)
    return load_bundle(path)


def _replaced(directory: str, names: list[str]) -> set[str]:
    """What of the old bundle is not taken over: the engine, and what was measured with it."""
    return {"engine", MANIFEST, LATENCY} & set(names)


def _renewed(report: Report, built: Evidence, engine: Engine) -> Report:
    """The report without what is no longer missing, and without what was found of an engine that is replaced."""
    kept = tuple(e for e in report.evidence if e.kind != "absent" and "model.onnx" in e.claim)
    found = ("engine", "parser", "coverage", "latency", "steady")
    missing = {what: why for what, why in report.missing.items() if not what.startswith(found)}
    if not load_backend(engine.backend).available().run:
        missing["engine run"] = f"The engine was built but not run: {load_backend(engine.backend).available().reason}."
    sizes = replace(report.sizes, engine=sum(f.stat().st_size for f in engine.path.parent.iterdir()))
    return replace(
        report,
        evidence=(*kept, built),
        missing=missing,
        sizes=sizes,
        coverage=None,
        latency={},
        faster=None,
        notes=(*report.notes, *engine.notes),
        machine=this_machine(),
        tools=tool_versions(),
        date=now(),
    )


def _prove(
    report: Report, backend: Backend, engine: Engine, manifest: Manifest, golden: Golden
) -> tuple[Report, dict[str, Measurement]]:
    """Golden outputs, int8 coverage and latency of the engine on this machine."""
    target, threads = manifest.target, usable_cores()
    on_device = is_device(target)
    with backend.open(engine, target, threads) as session:
        parity = check_golden(golden, session, manifest.minimum_sqnr_db)
        latency = measure({"engine": lambda: session(golden.feeds[0])})
    found = coverage(backend.inspect(engine, target, golden.feeds[0])) if engine.precision == "int8" else None
    proof = golden_evidence(parity, backend.available().version, "the engine", on_device=on_device)
    return replace(
        report,
        parity={**report.parity, "engine": parity},
        parity_how="the engine",
        coverage=found,
        latency={name: m.latency() for name, m in latency.items()},
        latency_shape=", ".join(f"{name} {array.shape}" for name, array in golden.feeds[0].items()),
        threads=threads,
        evidence=(*report.evidence, proof),
    ), latency
