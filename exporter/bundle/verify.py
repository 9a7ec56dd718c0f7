"""Verify a bundle on the machine that has it: signature, hashes, then the engine on the golden inputs.

Nothing here needs torch, nor onnx but to round float16 where no device does.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Literal

from ...backends.base import Engine
from ...backends.places import Place, engine_place
from ...errors import UnservedError
from ...profiles.findings.parity import Parity
from ...profiles.machine.held import temporary
from ..candidates.judge import check_golden, check_graph_golden
from ..graphs.files import read_graph
from ..quantization.rewrites.rounded_float16 import is_widened, rounded_float16
from .consistent import proof_of, text_proof_of
from .lineage import check_lineage
from .manifest import SIGNATURE, Bundle, check_files, load_bundle
from .signature import check_signature
from .signing_keys import PublicKey
from .text_golden import TextBounds, check_text

SignedBy = Literal["the key", "unchecked", "nobody"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Verification:
    """What a verification found: files whose hash is right, parity by output, and on what it ran.

    Attributes:
        signed: by the key that was given; by one that nobody checked, since none was given; or not at all.
        least_db: of SQNR that the manifest asks of each output.
        least_graph_db: of SQNR against its own graph; None where the manifest does not tell what that gives.
        unrounded: float16 was computed wider than the device does, and not rounded, as the export did.
        text: how far a decoder is from FP32 and from itself as it was proven; None of what is no decoder.
        most_text: what it may be.
    """

    files: int
    signed: SignedBy
    parity: dict[str, Parity]
    least_db: float
    least_graph_db: float | None
    tool: str
    on_device: bool
    unrounded: bool = False
    text: TextBounds | None = None
    most_text: TextBounds | None = None


def verify_bundle(path: Path, key: PublicKey | None = None, on: str | None = None) -> Verification:
    """Check the signature where a key is given, then every hash, then run the engine on the golden inputs.

    Hashes show damage, not forgery: who changes a file can enter its new hash. A signature shows both.

    Args:
        on: address of the place where the engine runs; by default where this machine shows most of the device.

    Raises:
        VerificationError: it is not signed by the key, a file differs, the lineage is of another engine, or the outputs
            do not agree with those of the FP32 model.
        UnservedError: the engine is not built yet, or its runtime is not on this machine.
    """
    if key is not None:
        check_signature(path, key)
    bundle = load_bundle(path)
    files, target = check_files(bundle, made_there=True), bundle.manifest.target
    engine = bundle.engine or bundle.built_there
    check_lineage(bundle)
    (text_proof_of if bundle.manifest.language else proof_of)(bundle)
    vouched = f"{path}: {'' if key is None else f'signed by {key.path}, '}{files}"
    if engine is None:
        raise UnservedError(
            f"{vouched} files are intact, but the engine is {bundle.manifest.engine.why}.",
            hint=f"On the device, run: edgepress build {path}",
        )
    place = engine_place(target, f"{vouched} files are intact, but ", on)
    proof = (_text_proof if bundle.manifest.language else _proof)(bundle, engine, place)
    return Verification(
        files=files,
        signed=_signed(path, key),
        tool=place.tool(target),
        on_device=place.evidence(target) == "measured",
        **proof,
    )


def _proof(bundle: Bundle, engine: Engine, place: Place) -> dict[str, Any]:
    """What the engine gives for the golden inputs, fields of `Verification`."""
    golden, manifest = proof_of(bundle), bundle.manifest
    with place.open(engine, place.threads()) as session:
        answers = golden.answers(session)
    parity = check_golden(golden, answers, manifest.minimum_sqnr_db)
    wider = _is_wider(engine, place)
    # Rounding takes the host's packages; without them the engine alone answers, which rounds less.
    unrounded = wider and find_spec("onnx_ir") is None
    if wider and not unrounded:
        with temporary() as scratch, place.open(_rounded(engine, scratch), place.threads()) as session:
            answers = golden.answers(session)
        parity = check_golden(golden, answers, manifest.minimum_sqnr_db)
    if manifest.minimum_graph_db is not None:
        check_graph_golden(golden, answers, manifest.minimum_graph_db)
    least = {"least_db": manifest.minimum_sqnr_db, "least_graph_db": manifest.minimum_graph_db}
    return {"parity": parity, "unrounded": unrounded, **least}


def _is_wider(engine: Engine, place: Place) -> bool:
    """Whether float16 is computed wider here than on the device, in a graph whose results can be rounded one by one."""
    return is_widened(engine.precision, place, engine.target) and engine.path.suffix == ".onnx"


def _rounded(engine: Engine, scratch: Path) -> Engine:
    """What an export was judged by as well: the graph with every result rounded."""
    graph = rounded_float16(read_graph(engine.path), scratch / "model.onnx")
    return replace(engine, path=graph.path)


def _text_proof(bundle: Bundle, engine: Engine, place: Place) -> dict[str, Any]:
    """What a decoder holds likely in the golden text, fields of `Verification`."""
    golden, most = text_proof_of(bundle)
    with place.decode(engine, place.threads()) as decoding:
        found = check_text(golden, golden.answers(decoding), most)
    return {"parity": {}, "least_db": 0.0, "least_graph_db": None, "text": found, "most_text": most}


def _signed(path: Path, key: PublicKey | None) -> SignedBy:
    if key is not None:
        return "the key"
    return "unchecked" if (path / SIGNATURE).exists() else "nobody"
