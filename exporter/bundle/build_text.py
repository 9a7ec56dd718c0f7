"""Finish the bundle of a decoder on the device that runs it: build the engine, and prove it on the golden text.

Nothing here needs torch or onnx.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ...backends.base import Engine
from ...backends.places import Place, place_for
from ...backends.registry import load_backend
from ...errors import InputError
from ...profiles.findings.evidence import Evidence
from ...profiles.findings.gap import About, Gap
from ...profiles.findings.report import Report
from ...profiles.machine.environment import now
from ...profiles.machine.held import temporary
from ...profiles.machine.naming import naming
from ..candidates.judge import built_evidence, directory_bytes
from .consistent import text_proof_of
from .directory import engine_laid_in, new_directory
from .lineage import with_engine
from .manifest import MANIFEST, SIGNATURE, Bundle
from .seal import load_report, seal
from .signature import write_signature
from .signing_keys import PrivateKey
from .text_golden import check_text

# What an export missed that is found out anew here.
_ANEW: tuple[About, ...] = ("engine", "run", "parser")


def build_decoder(bundle: Bundle, sign: PrivateKey | None, on: str | None = None) -> None:
    """Compile the engine on the device, prove it, and replace the bundle as a whole.

    Args:
        sign: signs the built one.
        on: address of the device; by default it is this machine.

    Raises:
        InputError: there is nothing to compile, or the compiler refuses the graph.
        VerificationError: the engine is further from FP32 than the manifest lets pass.
        UnservedError: this machine cannot build for the bundle's target.
    """
    if not bundle.graph.path.is_file():
        raise InputError(
            f"{bundle.path} has nothing to build: what export wrote is what {bundle.manifest.engine.backend} opens.",
            hint=f"Prove it on this machine: edgepress verify {bundle.path}",
        )
    with new_directory(bundle.path, force=True) as work, temporary() as scratch:
        built = _Built.of(bundle, place_for(bundle.manifest.target, on), scratch)
        gone = {"engine", MANIFEST, SIGNATURE}
        shutil.copytree(bundle.path, work, dirs_exist_ok=True, ignore=lambda _, names: gone & set(names))
        with naming(bundle.path):
            engine = engine_laid_in(work, built.engine)
            seal(work, bundle.path.name, built.fields(work, engine), built.report(), {})
            if sign is not None:
                write_signature(work, bundle.path.name, sign, work / SIGNATURE)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Built:
    """An engine that was built here.

    Attributes:
        claim: what it answered to the golden text; empty where it does not run here.
    """

    bundle: Bundle
    place: Place
    engine: Engine
    claim: str

    @classmethod
    def of(cls, bundle: Bundle, place: Place, scratch: Path) -> _Built:
        """Compile, and ask it where it runs.

        Raises:
            VerificationError: it is further from FP32 than the manifest lets pass.
        """
        golden, most = text_proof_of(bundle)
        manifest, directory = bundle.manifest, scratch / "engine"
        directory.mkdir()
        engine = place.compile(bundle.graph, manifest.target, directory, manifest.engine.precision)
        claim = ""
        if place.itself and not place.why_not(manifest.target):
            with place.decode(engine, place.threads()) as decoding:
                found = check_text(golden, golden.answers(decoding), most)
                check_text(golden, golden.answers_in_parts(decoding), most)
            claim = (
                f"On the golden text the engine is {found.fp32:.4f} nats a token from FP32, and {found.own:.4f} from "
                "what its graph gave where the bundle was made."
            )
        return cls(bundle=bundle, place=place, engine=engine, claim=claim)

    def fields(self, work: Path, engine: Engine) -> dict[str, Any]:
        """Of the manifest: what it was, with the engine."""
        manifest = self.bundle.manifest
        before, graph = manifest.lineage, manifest.model.graph_digest
        path = engine.path.relative_to(work).as_posix()
        return {
            "model": manifest.model,
            "target": manifest.target,
            "recipe": manifest.recipe,
            "engine": replace(manifest.engine, path=path, why=""),
            "minimum_sqnr_db": manifest.minimum_sqnr_db,
            "language": manifest.language,
            "lineage": with_engine(before, graph, self.place.compiler(manifest.target), work) if before else (),
            "tools": self.place.tools(),
        }

    def report(self) -> Report:
        """The export's, with what is so since."""
        before = load_report(self.bundle.path)
        kept = (one for one in before.evidence if one.about == "graph")
        missing = (gap for gap in before.missing if gap.about not in _ANEW)
        return replace(
            before,
            evidence=(*kept, built_evidence(self.engine, self.place), *self._evidence()),
            missing=(*missing, *self._missing()),
            sizes=replace(before.sizes, engine=directory_bytes(self.engine.path.parent)),
            notes=(*before.notes, *(note for note in self.engine.notes if note not in before.notes)),
            machine=self.place.builder,
            tools=self.place.tools(),
            date=now(),
        )

    def _evidence(self) -> Iterator[Evidence]:
        if self.claim:
            target = self.bundle.manifest.target
            yield Evidence(
                about="engine",
                claim=self.claim,
                kind=self.place.evidence(target),
                tool=self.place.tool(target),
                machine=str(self.place.machine),
            )

    def _missing(self) -> Iterator[Gap]:
        if not self.claim:
            backend = load_backend(self.bundle.manifest.target.backend)
            yield Gap(about="run", why=f"The engine was built but not run: {backend.available().reason}.")
