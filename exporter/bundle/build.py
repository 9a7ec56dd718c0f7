"""Finish a bundle on the device that runs it: build the engine that only it can build, prove it and measure it.

Nothing here needs torch or onnx.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ...backends.base import Engine, Graph
from ...backends.places import Place, place_for
from ...backends.registry import load_backend
from ...errors import RefusedError, VerificationError
from ...profiles.device.precision import SHIPPED, PrecisionName, load_precision, most_exact_first
from ...profiles.findings.choice import Choice, Contender
from ...profiles.findings.gap import About, Gap
from ...profiles.findings.lineage import LineageStep
from ...profiles.findings.report import Report
from ...profiles.machine.environment import now
from ...profiles.machine.given import steady
from ...profiles.machine.held import temporary
from ...profiles.machine.naming import naming
from ...profiles.timing.in_turn import Timed
from ...profiles.timing.measurement import Measurement
from ...profiles.timing.ratio import speedup
from ..candidates.candidate import Candidate, Refused
from ..candidates.contest import Contest, Standing
from ..candidates.judge import built_evidence, check_graph_golden, directory_bytes, judged, looked_into
from ..candidates.measure import disturbed, measure_in_turn
from ..capture.golden import GRAPH_OUTPUTS, Golden
from .build_text import build_decoder
from .consistent import proof_of
from .directory import engine_laid_in, new_directory
from .lineage import shipped_lineage, with_engine
from .manifest import FALLBACK, LATENCY, MANIFEST, SIGNATURE, Bundle, check_files, load_bundle
from .seal import load_report, seal
from .signature import check_signature, write_signature
from .signing_keys import PrivateKey, PublicKey
from .sizes import size_split

# What an export missed that is found out anew here.
_ANEW: tuple[About, ...] = ("engine", "run", "parser", "coverage", "latency", "disturbed", "steady", "precision")


def build_bundle(
    path: Path, key: PublicKey | None = None, sign: PrivateKey | None = None, on: str | None = None
) -> Bundle:
    """Compile the engine on the device, prove and measure it, and replace the bundle as a whole.

    Where the export could not measure which precision is the fastest, and so sent a float graph along, both are built
    and measured here, and the bundle becomes that of the precision that is to be shipped.

    Args:
        key: of who must have signed the bundle.
        sign: signs the built one. A signature that the bundle has covers it as it was, and goes.
        on: address of the device; by default it is this machine.

    Raises:
        VerificationError: it is not signed by the key, a file of it differs, or the built engine does not agree with
            the FP32 model.
        UnservedError: this machine cannot build for the bundle's target.
        InputError: the compiler refuses the graph.
    """
    path = steady(path).resolve()  # `.` has no name to put the new bundle under
    if key is not None:
        check_signature(path, key)
    bundle = load_bundle(path)
    check_files(bundle, made_there=True)
    if bundle.manifest.language is not None:
        build_decoder(bundle, sign, on)
        return load_bundle(path)
    golden = proof_of(bundle)
    with new_directory(path, force=True) as work, temporary() as scratch:
        build = _Build.of(bundle, golden, place_for(bundle.manifest.target, on), scratch)
        with naming(path):
            engine = build.laid_out(work)
            report = build.report(load_report(path), engine)
            seal(work, path.name, build.fields(work, engine), report, build.latency())
            if sign is not None:
                write_signature(work, path.name, sign, work / SIGNATURE)
    return load_bundle(path)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Build:
    """The precisions that a bundle carries, built here and run against each other.

    Attributes:
        timed: None where the runtime does not run here.
    """

    bundle: Bundle
    golden: Golden
    place: Place
    candidates: Mapping[PrecisionName, Candidate]
    contest: Contest
    timed: Timed | None

    @classmethod
    def of(cls, bundle: Bundle, golden: Golden, place: Place, scratch: Path) -> _Build:
        """Build what the bundle carries, and let it run against each other where the runtime runs here.

        Raises:
            VerificationError, RefusedError: nothing of it does on this machine; what was wrong with the first.
        """
        entries: list[Candidate | Refused] = []
        for offer in _offers(bundle, place):
            try:
                entries.append(_made(offer, bundle, golden, place, scratch))
            except (VerificationError, RefusedError) as error:  # noqa: PERF203  (each may fail on its own)
                entries.append(Refused(precision=offer.precision, error=error))
        candidates = {entry.precision: entry for entry in entries if isinstance(entry, Candidate)}
        if not candidates:
            raise next(entry.error for entry in entries if isinstance(entry, Refused))
        engines = {p: made.runs for p, made in candidates.items() if made.parity and made.runs is not None}
        timing = engines and not place.why_unmeasured(bundle.manifest.target)
        timed = measure_in_turn(engines, golden.feeds[0], place, place.threads()) if timing else None
        standings = {entry.precision: Standing.of(entry) for entry in entries}
        latency = {} if timed is None else {p: timed.latency[p] for p in candidates if p in timed.latency}
        return cls(
            bundle=bundle,
            golden=golden,
            place=place,
            candidates=candidates,
            contest=Contest.between(standings, latency),
            timed=timed,
        )

    @property
    def shipped(self) -> PrecisionName:
        """The fastest that does; where nothing runs here, what the bundle had, if it does."""
        best = self.contest.best
        return next(iter(self.candidates)) if best is None else best

    @property
    def winner(self) -> Candidate:
        """What is shipped."""
        return self.candidates[self.shipped]

    @property
    def replaced(self) -> bool:
        """Whether the graph that travelled along won."""
        return self.winner.graph.path != self.bundle.graph.path

    def laid_out(self, work: Path) -> Engine:
        """Fill the new directory: what stays, the graph and the engine that won."""
        gone = {"engine", MANIFEST, LATENCY, SIGNATURE}
        if self.contest.settled:
            gone.add(Path(FALLBACK).parent.name)
        if self.replaced:
            gone.update((GRAPH_OUTPUTS, *(file.name for file in self.bundle.path.glob("model.onnx*"))))
        shutil.copytree(self.bundle.path, work, dirs_exist_ok=True, ignore=lambda _, names: gone & set(names))
        if self.replaced:
            for file in self.winner.graph.path.parent.glob("model.onnx*"):
                shutil.copyfile(file, work / file.name)
        engine = self.winner.engine
        assert engine is not None
        return engine_laid_in(work, engine)

    def fields(self, work: Path, engine: Engine) -> dict[str, Any]:
        """What the new manifest says of the bundle, whose engine was laid out."""
        before = self.bundle.manifest
        path = engine.path.relative_to(work).as_posix()
        return {
            "model": replace(before.model, graph_digest=self.winner.graph.digest),
            "target": before.target,
            "recipe": before.recipe,
            "minimum_sqnr_db": self.winner.least_db,
            "minimum_graph_db": None if self.replaced else before.minimum_graph_db,
            "golden": before.golden,
            "fallback": None if self.contest.settled else before.fallback,
            "engine": replace(before.engine, precision=self.shipped, path=path, why=""),
            "lineage": self.lineage(work),
            "tools": self.place.tools(),
        }

    def lineage(self, work: Path) -> tuple[LineageStep, ...]:
        """The export's, to the engine that was laid out; of a bundle without one there is none to go on with."""
        before, graph, fallback = self.bundle.manifest.lineage, self.winner.graph.digest, self.bundle.manifest.fallback
        if not before:
            return ()
        steps = with_engine(before, graph, self.place.compiler(self.bundle.manifest.target), work)
        others = () if self.contest.settled or fallback is None else (fallback.graph_digest,)
        return shipped_lineage(steps, graph, others)

    def latency(self) -> dict[str, Measurement]:
        """Latencies by the names that a report gives them."""
        return {SHIPPED if p == self.shipped else p: taken for p, taken in self.contest.measured.items()}

    def report(self, before: Report, engine: Engine) -> Report:
        """The export's report with what is so since, and without what was found of an engine that is replaced."""
        winner, latency, timed = self.winner, self.latency(), self.timed
        same = self.shipped == self.bundle.manifest.engine.precision
        if winner.parity:
            winner = looked_into(replace(winner, engine=engine, runs=engine), self.golden, self.place, engine.target)
        kept = tuple(e for e in before.evidence if e.kind != "absent" and e.about == "graph" and same)
        choice = before.choice
        if choice is not None and self.contest.settled:
            choice = self._choice(choice)
        feed = self.golden.feeds[0]
        return replace(
            before,
            precision=self.shipped,
            evidence=(*kept, *winner.evidence),
            missing=self._missing(before, choice, winner),
            sizes=replace(
                before.sizes,
                engine=winner.size,
                weights=before.sizes.weights if same else winner.graph.path.stat().st_size,
            ),
            size=size_split(winner.graph.path, engine.path),
            parity={**before.parity, "engine": winner.parity} if winner.parity else before.parity,
            parity_how=winner.how or before.parity_how,
            layers=winner.layers,
            coverage=winner.coverage,
            by_layer=before.by_layer if same else None,
            latency={arm: measurement.latency() for arm, measurement in latency.items()},
            latency_shape=", ".join(f"{name} {array.shape}" for name, array in feed.items()) if latency else "",
            before=None if timed is None else timed.before,
            after=None if timed is None else timed.after,
            faster=speedup(latency["fp32"], latency[SHIPPED]) if "fp32" in latency else None,
            choice=choice,
            notes=(*before.notes, *winner.notes),
            machine=self.place.machine if latency else self.place.builder,
            tools=self.place.tools(),
            date=now(),
            threads=self.place.threads() if latency else before.threads,
        )

    def _missing(self, before: Report, choice: Choice | None, winner: Candidate) -> tuple[Gap, ...]:
        """What is still missing; a choice that lost int8 is said where it is seen."""
        gaps = [gap for gap in before.missing if gap.about not in _ANEW]
        gaps += winner.missing
        if why := self.place.why_not(self.bundle.manifest.target) or ("" if self.place.itself else self._idle()):
            gaps.append(Gap(about="run", why=f"The engine was built but not run: {why}."))
        if self.timed is not None:
            gaps += disturbed(self.timed)
        elif self.winner.parity and (why := self.place.why_unmeasured(self.bundle.manifest.target)):
            gaps.append(Gap(about="latency", why=f"Latency was not measured: {why}."))
        if choice is not None and self.contest.settled and not load_precision(self.shipped).integer:
            gaps.append(Gap(about="precision", why=f"int8 was not kept. {choice.because}"))
        return tuple(gaps)

    @property
    def _where(self) -> str:
        """In words that name no machine."""
        return "the device" if self.place.address else "this machine"

    def _idle(self) -> str:
        """Why the runtime does not run here, where another one stands in for it."""
        return load_backend(self.bundle.manifest.target.backend).available().reason

    def _choice(self, before: Choice) -> Choice:
        """The choice of the export, with what was found here."""
        sentences = [*self.contest.excluded(), *self.contest.comparisons(self.shipped)]
        return Choice(
            shipped=self.shipped,
            forced=False,
            measured=len(self.contest.measured) > 1,
            because=" ".join([*sentences, f"Built and measured on {self._where}: {self.shipped}."]),
            contenders=_merged(before.contenders, self.contest),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Offer:
    """A precision that the bundle carries, and what its engine must reach against FP32 and against its own graph."""

    precision: PrecisionName
    graph: Graph
    least_db: float
    least_graph_db: float | None = None


def _offers(bundle: Bundle, place: Place) -> Iterator[_Offer]:
    """The engine in the bundle, then those to measure it against."""
    manifest = bundle.manifest
    yield _Offer(
        precision=manifest.engine.precision,
        graph=bundle.graph,
        least_db=manifest.minimum_sqnr_db,
        least_graph_db=manifest.minimum_graph_db,
    )
    entry, graph = manifest.fallback, bundle.fallback
    if entry is None or graph is None or not place.itself or place.why_unmeasured(manifest.target):
        return
    yield _Offer(precision=entry.precision, graph=graph, least_db=entry.minimum_sqnr_db)
    native = place.native_float(manifest.target)
    if load_precision(entry.precision).exact and native != entry.precision:
        # The same graph, as the runtime itself would run it.
        least = min(entry.minimum_sqnr_db, load_precision(native).least_db)
        yield _Offer(precision=native, graph=graph, least_db=least)


def _made(offer: _Offer, bundle: Bundle, golden: Golden, place: Place, scratch: Path) -> Candidate:
    """Compile an offer; where it runs here, judge it."""
    target, directory = bundle.manifest.target, scratch / offer.precision
    directory.mkdir()
    engine = place.compile(offer.graph, target, directory, offer.precision)
    candidate = Candidate(
        precision=offer.precision,
        graph=offer.graph,
        least_db=offer.least_db,
        engine=engine,
        runs=engine,
        size=directory_bytes(directory),
        evidence=(built_evidence(engine, place),),
        notes=engine.notes,
    )
    if not place.itself or place.why_not(target):
        return candidate
    with place.open(engine, place.threads()) as session:
        answers = golden.answers(session)
    if offer.least_graph_db is not None:
        check_graph_golden(golden, answers, offer.least_graph_db)
    return judged(candidate, golden, answers, place, target)


def _merged(before: tuple[Contender, ...], contest: Contest) -> tuple[Contender, ...]:
    """The contenders as they stand here; of those that were not built here, what the export said."""
    seen, here = {one.precision: one for one in before}, {one.precision: one for one in contest.contenders()}
    merged = {**seen, **here}
    for precision, contender in here.items():
        if contender.kept and precision in seen and seen[precision].accuracy:
            merged[precision] = replace(contender, accuracy=seen[precision].accuracy)
    return tuple(merged[precision] for precision in most_exact_first(merged))
