"""Verify a bundle on the machine that has it: hashes, then the engine on the golden inputs.

Nothing here needs torch or onnx.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from ...backends.places import engine_place
from ...errors import UnservedError
from ...profiles.findings.parity import Parity
from ...profiles.machine.environment import usable_cores
from ..candidates.judge import check_golden, check_graph_golden
from ..capture.golden import Golden
from .manifest import check_files, load_bundle


@dataclass(frozen=True, slots=True, kw_only=True)
class Verification:
    """What a verification found: files whose hash is right, parity by output, and on what it ran."""

    files: int
    parity: dict[str, Parity]
    tool: str
    on_device: bool


def verify_bundle(path: Path) -> Verification:
    """Check every hash, then run the engine on the golden inputs.

    Raises:
        VerificationError: a file differs, or the outputs do not agree with the FP32 model's.
        UnservedError: the engine is not built yet, or its runtime is not on this machine.
    """
    bundle = load_bundle(path)
    files, engine, target = check_files(bundle), bundle.engine, bundle.manifest.target
    if engine is None:
        raise UnservedError(
            f"{path}: {files} files are intact, but the engine is {bundle.manifest.engine.why}.",
            hint=f"On the device, run: edgepress build {path}",
        )
    golden, least_graph_db = Golden.load(path / "golden"), bundle.manifest.minimum_graph_db
    place = engine_place(target, f"{path}: {files} files are intact, but ")
    with place.open(engine, usable_cores()) as session:
        answers = golden.answers(session)
    parity = check_golden(golden, answers, bundle.manifest.minimum_sqnr_db)
    if least_graph_db is not None:
        check_graph_golden(golden, answers, least_graph_db)
    on_device = place.evidence(target) == "measured"
    return Verification(files=files, parity=parity, tool=place.tool(target), on_device=on_device)
