"""The precisions that a bundle carries, built, proven and measured on the machine that will run them.

Nothing here needs torch or onnx.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, replace
from itertools import permutations
from pathlib import Path

from ...backends.base import Backend, Engine, Graph
from ...errors import RefusedError, VerificationError
from ...profiles.device.target import Precision, Target
from ...profiles.findings.choice import EXACT, Choice, Compared, Contender, fastest, said, smaller, undecided
from ...profiles.findings.parity import Parity, worst
from ...profiles.machine.conditions import Conditions
from ...profiles.machine.environment import usable_cores
from ...profiles.timing.in_turn import Timed, time_in_turn
from ...profiles.timing.measure import Call
from ...profiles.timing.measurement import Measurement, speedup
from ..bundle.manifest import Bundle
from ..capture.golden import Golden
from ..recipe import MINIMUM_SQNR_DB
from .judge import check_golden


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """A precision, compiled here.

    Attributes:
        parity: with the FP32 model; empty where the runtime does not run here.
    """

    graph: Graph
    engine: Engine
    minimum_sqnr_db: float
    parity: Mapping[str, Parity]

    @property
    def size(self) -> int:
        """Bytes of the engine and what belongs to it."""
        return sum(file.stat().st_size for file in self.engine.path.parent.iterdir())


@dataclass(frozen=True, slots=True, kw_only=True)
class Contest:
    """What came of building them.

    Attributes:
        failed: why a precision does not do on this machine.
        found: latencies, taken in one run; of one candidate alone where the others were not to be measured.
        shipped: the precision to ship.
        compared: each with the best of the more exact ones.
        conditions: of the machine, before and after the latencies were taken.
    """

    candidates: Mapping[Precision, Candidate]
    failed: Mapping[Precision, str]
    found: Mapping[Precision, Measurement]
    shipped: Precision
    compared: Mapping[Precision, Compared]
    conditions: tuple[Conditions, ...] = ()

    @property
    def winner(self) -> Candidate:
        """What is shipped."""
        return self.candidates[self.shipped]

    @property
    def settled(self) -> bool:
        """Whether this machine has told the precisions apart."""
        return len(self.found) > 1 or bool(self.failed)

    def choice(self, before: Choice) -> Choice:
        """The choice of the export, with what was found here."""
        seen = {one.precision: one for one in before.contenders}
        names = [p for p in EXACT if p in {*seen, *self.candidates, *self.failed}]
        return Choice(
            shipped=self.shipped,
            forced=False,
            measured=len(self.found) > 1,
            because=" ".join(self._sentences()),
            contenders=tuple(self._contender(p, seen.get(p)) for p in names),
        )

    def _sentences(self) -> Iterator[str]:
        for precision, why in self.failed.items():
            yield f"{precision} is out: {why.rstrip('.')}."
        for precision, compared in self.compared.items():
            sizes = (self.candidates[precision].size, self.winner.size)
            lost = "" if precision == self.shipped else f", so that it is not shipped{_gain(*sizes)}"
            yield f"{said(compared, precision)}{lost}."
        yield f"Built and measured on this machine: {self.shipped}."

    def _contender(self, precision: Precision, before: Contender | None) -> Contender:
        one, compared = self.candidates.get(precision), self.compared.get(precision)
        timed = self.found.get(precision)
        accuracy = "" if before is None else before.accuracy
        if one is not None and one.parity and not accuracy:
            accuracy = f"{worst(one.parity).sqnr_db:.1f} dB on golden inputs"
        return Contender(
            precision=precision,
            accuracy=self.failed.get(precision, accuracy),
            kept=precision not in self.failed,
            size=None if one is None else one.size,
            p50=None if timed is None else timed.percentile(50),
            against=None if compared is None else compared.against,
            faster=None if compared is None else compared.ratio,
        )


def contest(bundle: Bundle, backend: Backend, golden: Golden, scratch: Path) -> Contest:
    """Build what the bundle carries, and let it run against each other where the runtime runs here.

    Raises:
        VerificationError, RefusedError: nothing of it does on this machine; what was wrong with the first.
    """
    candidates: dict[Precision, Candidate] = {}
    errors: dict[Precision, VerificationError | RefusedError] = {}
    with ExitStack() as opened:
        calls: dict[Precision, Call] = {}
        for precision, graph, least in _offers(bundle, backend):
            try:
                one = _compiled(backend, graph, bundle.manifest.target, precision, least, scratch)
                if backend.available().run:
                    session = opened.enter_context(backend.open(one.engine, bundle.manifest.target, usable_cores()))
                    one = replace(one, parity=check_golden(golden, session, least))
                    calls[precision] = session.bind(golden.feeds[0])
                candidates[precision] = one
            except (VerificationError, RefusedError) as error:  # noqa: PERF203  (each may fail on its own)
                errors[precision] = error
        if not candidates:
            raise next(iter(errors.values()))
        return _decided(bundle, candidates, errors, _measured(calls))


def _offers(bundle: Bundle, backend: Backend) -> Iterator[tuple[Precision, Graph, float]]:
    """Precision, graph and least agreement of the engine in the bundle, then of those to measure it against."""
    manifest = bundle.manifest
    yield manifest.engine.precision, bundle.graph, manifest.minimum_sqnr_db
    entry, graph = manifest.fallback, bundle.fallback
    if entry is None or graph is None or not backend.available().run:
        return
    yield entry.precision, graph, entry.minimum_sqnr_db
    native = backend.native_float(manifest.target)
    if entry.precision == "fp32" and native != "fp32":  # the same graph, as the runtime itself would run it
        yield native, graph, min(entry.minimum_sqnr_db, MINIMUM_SQNR_DB[native])


def _compiled(
    backend: Backend, graph: Graph, target: Target, precision: Precision, least_db: float, scratch: Path
) -> Candidate:
    directory = scratch / precision
    directory.mkdir()
    engine = backend.compile(graph, target, directory, precision)
    return Candidate(graph=graph, engine=engine, minimum_sqnr_db=least_db, parity={})


def _measured(calls: Mapping[Precision, Call]) -> Timed | None:
    """Latencies, with a second, longer look where the first leaves open which is faster; None where nothing runs."""
    if not calls:
        return None
    arms: dict[str, Call] = {precision: call for precision, call in calls.items()}  # noqa: C416  (keys become str)
    timed = time_in_turn(arms)
    ratios = (speedup(a, b) for a, b in permutations(timed.latency.values(), 2))
    if any(undecided(ratio) for ratio in ratios):
        timed = timed.and_then(time_in_turn(arms))
    return timed


def _decided(
    bundle: Bundle,
    candidates: Mapping[Precision, Candidate],
    errors: Mapping[Precision, VerificationError | RefusedError],
    timed: Timed | None,
) -> Contest:
    found: Mapping[Precision, Measurement] = {} if timed is None else timed.latency  # type: ignore[assignment]
    best, compared = fastest(found, list(candidates)) if found else (next(iter(candidates)), {})
    return Contest(
        candidates=candidates,
        failed={precision: error.message for precision, error in errors.items()},
        found=found,
        shipped=best,
        compared=compared,
        conditions=() if timed is None else (timed.before, timed.after),
    )


def _gain(size: int, than: int) -> str:
    gain = smaller(size, than)
    return f", though {gain}" if gain else ""
