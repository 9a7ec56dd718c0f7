"""Lay out the bundle of a decoder: its engine, golden text, reports and manifest."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ...backends.places import Place
from ...backends.registry import load_backend, tool_versions
from ...profiles.device.precision import load_precision
from ...profiles.device.target import Target
from ...profiles.findings.lineage import LineageStep
from ...profiles.findings.report import Report, Sizes
from ...profiles.machine.environment import installed, now, this_machine
from ..bundle.consistent import text_proof_of
from ..bundle.directory import engine_laid_in, recipe_laid_in
from ..bundle.lineage import with_engine
from ..bundle.manifest import EngineEntry, LanguageEntry, ModelEntry, load_bundle
from ..bundle.pack import RECIPE, copied, peak_memory, portable
from ..bundle.seal import seal
from ..bundle.text_golden import bounds_of
from ..language.writers.base import TOKENIZER
from ..recipe import Recipe
from ..recipe_file import dump_recipe, recipe_data
from ..sources.decoder import DecoderSource
from .candidate import TextCandidate

NATS = 6  # digits of a bound in the manifest


@dataclass(frozen=True, slots=True, kw_only=True)
class TextPacking:
    """What goes into the bundle of a decoder.

    Attributes:
        place: where the engine was compiled, judged and measured.
        threads: of the runtime, in all that was measured.
    """

    source: DecoderSource
    target: Target
    recipe: Recipe
    candidate: TextCandidate
    place: Place
    threads: int

    def write(self, directory: Path, name: str, seconds: Mapping[str, float], command: str) -> None:
        """Everything, the manifest last.

        Args:
            name: that the directory will have.
            seconds: wall time of each stage.
            command: how to do it again.
        """
        engine = self._laid_out(directory)
        self.candidate.golden.save(directory / "golden")
        (directory / RECIPE).write_text(dump_recipe(portable(self.recipe)), encoding="utf-8")
        fields = self._manifest(directory, engine)
        seal(directory, name, fields, self._report(seconds, command), {})
        text_proof_of(load_bundle(directory))

    def _laid_out(self, directory: Path) -> Path | None:
        """Put graph and engine, or what the device builds it with, into their places."""
        candidate = self.candidate
        if candidate.graph is not None:
            copied(candidate.graph, directory)
            beside = candidate.graph.path.parent / TOKENIZER
            if beside.is_dir():
                shutil.copytree(beside, directory / TOKENIZER)
        if candidate.engine is not None:
            return engine_laid_in(directory, candidate.engine).path
        assert candidate.graph is not None
        recipe_laid_in(directory, candidate.graph, candidate.target, candidate.precision)
        return None

    def _manifest(self, directory: Path, engine: Path | None) -> dict[str, Any]:
        candidate, decoder = self.candidate, self.source.decoder
        known = candidate.graph or candidate.engine
        assert known is not None
        bounds = bounds_of(candidate.golden)
        return {
            "model": ModelEntry(
                name=self.source.name,
                source_kind=self.source.kind,
                source_digest=self.source.digest,
                graph_digest=candidate.rounded.digest,
                opset=self.target.opset if candidate.graph is None else candidate.graph.opset,
                inputs=known.inputs,
                outputs=known.outputs,
                axes={} if candidate.graph is None else candidate.graph.axes,
                licence=self.source.licence,
            ),
            "target": candidate.target,
            "recipe": recipe_data(portable(self.recipe)),
            "engine": EngineEntry(
                backend=self.target.backend,
                precision=candidate.precision,
                path=None if engine is None else engine.relative_to(directory).as_posix(),
                why=candidate.not_built,
            ),
            "minimum_sqnr_db": 0.0,
            "language": LanguageEntry(
                context=decoder.context,
                vocabulary=decoder.vocabulary,
                tokenizer=self.source.tokenizer is not None,
                golden=len(candidate.golden.tokens),
                fp32_nats=round(bounds.fp32, NATS),
                own_nats=round(bounds.own, NATS),
            ),
            "lineage": self._lineage(directory, engine),
            "tools": self._tools(),
        }

    def _tools(self) -> dict[str, str]:
        """What made the weights here, and what compiled and ran them where they were judged."""
        return {**tool_versions(), **self.place.tools()}

    def _lineage(self, directory: Path, engine: Path | None) -> tuple[LineageStep, ...]:
        """From the checkpoint to the weights as they are written, and to the engine."""
        rounded = self.candidate.rounded
        beside = {"calibration data": rounded.text_digest} if rounded.text_digest else {}
        what = self.candidate.precision if load_precision(self.candidate.precision).integer else "capture"
        by = f"edgepress {installed('edgepress')}".strip()
        step = LineageStep(what=what, before=self.source.digest, after=rounded.digest, beside=beside, by=by)
        if engine is None:
            return (step,)
        if self.candidate.graph is None:  # the engine is what was written, here
            by = load_backend(self.target.backend).available().version
        else:
            by = self.place.compiler(self.target)
        return with_engine((step,), rounded.digest, by, directory)

    def _report(self, seconds: Mapping[str, float], command: str) -> Report:
        candidate = self.candidate
        bits = candidate.rounded.bits
        return Report(
            model=self.source.name,
            target=self.target.name,
            target_title=self.target.title,
            backend=self.target.backend,
            precision=candidate.precision,
            evidence=candidate.evidence,
            parity={},
            parity_how=candidate.parity.how,
            task=candidate.task,
            sizes=Sizes(
                weights_fp32=4 * self.source.decoder.parameters,
                weights=sum(one.bytes for one in bits.layers),
                engine=candidate.size,
            ),
            machine=this_machine() if candidate.language.speed is None else self.place.machine,
            tools=self._tools(),
            date=now(),
            command=command,
            language=candidate.language,
            threads=self.threads,
            peak_memory=peak_memory(),
            stage_seconds=seconds,
            missing=candidate.missing,
            notes=candidate.notes,
        )
