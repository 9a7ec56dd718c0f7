"""The verdict: ship the fastest precision that keeps the accuracy, and say on what grounds."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace

from ...backends.places.reference import emulated, emulator
from ...errors import EdgepressError, RefusedError, VerificationError
from ...profiles.device.target import Precision
from ...profiles.findings.choice import EXACT, Choice, Compared, Contender, claimed, fastest, said, smaller
from ...profiles.findings.parity import worst
from ...profiles.timing.measurement import Measurement, speedup
from ..bundle.manifest import FALLBACK, FallbackEntry
from ..draft import Draft
from ..progress import Advance
from ..sources.score import score
from . import compile, evaluate, quantize
from . import judge as verify
from .measure import unmeasured

Step = Callable[[Draft, Advance], Draft]
# What makes a draft in one precision, in order.
BUILD: Mapping[str, Step] = {
    "quantize": quantize.run,
    "compile": compile.run,
    "verify": verify.run,
    "evaluate": evaluate.run,
}


# What a precision may fail with where the next one may still get through.
_FAILURES: Mapping[str, tuple[type[EdgepressError], ...]] = {
    "quantize": (VerificationError, quantize.NothingToQuantizeError),
    "compile": (RefusedError,),
    "verify": (VerificationError,),
    "evaluate": (),
}


def attempt(stage: str) -> Step:
    """A stage of BUILD that, where the precision is ours to choose and this one does not do, goes on with the next."""
    before = list(BUILD)[: list(BUILD).index(stage)]

    def run(draft: Draft, advance: Advance) -> Draft:
        draft = replace(draft, base=draft.base or draft)
        try:
            return BUILD[stage](draft, advance)
        except _FAILURES[stage] as error:
            following = _following(draft)
            if draft.recipe.precision != "auto" or following is None:
                raise
            refused = {**draft.refused, draft.precision: error.message}
        draft = _restarted(replace(draft, refused=refused), following)
        for earlier in before:
            draft = BUILD[earlier](draft, advance)
        return run(draft, advance)

    return run


def run(draft: Draft, advance: Advance) -> Draft:
    """Choose, and make the bundle of what was chosen.

    Raises:
        VerificationError: what is left to choose from does not agree with the model.
    """
    contest = _Contest.of(draft, advance)
    shipped = draft.precision if draft.recipe.precision != "auto" else contest.best or _by_data(draft, contest)
    choice = Choice(
        shipped=shipped,
        forced=draft.recipe.precision != "auto",
        measured=len(contest.measured) > 1,
        because=_because(draft, contest, shipped),
        contenders=contest.contenders(),
    )
    if shipped != draft.precision:
        draft = _made(draft, shipped, advance)
    if len(choice.contenders) > 1 or "int8" in contest.accuracy:
        draft = replace(draft, choice=choice)
    return _with_fallback(_with_warnings(_with_latencies(draft, contest), contest), advance)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Contest:
    """Everything there is to choose from.

    Attributes:
        accuracy: of each precision: what was seen of it.
        out: those that do not keep it.
        sizes: bytes of the engines.
        measured: those that run here, in turn.
        best: the fastest that keeps the accuracy; None where nothing was measured.
        compared: each of the others with the best of the more exact ones.
    """

    accuracy: Mapping[Precision, str]
    out: frozenset[Precision]
    sizes: Mapping[Precision, int | None]
    measured: Mapping[Precision, Measurement]
    best: Precision | None
    compared: Mapping[Precision, Compared] = field(default_factory=dict)

    @classmethod
    def of(cls, draft: Draft, advance: Advance) -> _Contest:
        """What the stages before made, judged and compared."""
        accuracy, out = _judged(draft, advance)
        assert draft.sizes is not None
        arms = {draft.precision: "engine", **{p: p for p in draft.rivals if p != draft.precision}}
        measured = {p: draft.latency[arm] for p, arm in arms.items() if arm in draft.latency}
        kept = [p for p in measured if p not in out]
        best, compared = fastest(measured, kept) if kept else (None, {})
        return cls(
            accuracy=accuracy,
            out=out,
            sizes={**{p: r.size for p, r in draft.rivals.items()}, draft.precision: draft.sizes.engine},
            measured=measured,
            best=best,
            compared=compared,
        )

    def contenders(self) -> tuple[Contender, ...]:
        """For the report, the more exact first."""
        return tuple(self._contender(p) for p in EXACT if p in self.accuracy)

    def _contender(self, precision: Precision) -> Contender:
        timed, compared = self.measured.get(precision), self.compared.get(precision)
        return Contender(
            precision=precision,
            accuracy=self.accuracy[precision],
            kept=precision not in self.out,
            size=self.sizes.get(precision),
            p50=None if timed is None else timed.percentile(50),
            against=None if compared is None else compared.against,
            faster=None if compared is None else compared.ratio,
        )


def _judged(draft: Draft, advance: Advance) -> tuple[dict[Precision, str], frozenset[Precision]]:
    """What is known of each precision's accuracy, and which do not keep it."""
    accuracy: dict[Precision, str] = dict(draft.refused)
    out = set(draft.refused)
    metric = None if draft.task is None else draft.task.after
    accuracy[draft.precision], kept = _seen(draft, worst(draft.parity["engine"]).sqnr_db, metric)
    if not kept and draft.precision != "fp32":
        out.add(draft.precision)
    for precision in draft.rivals:
        if precision != draft.precision and precision not in draft.refused:
            accuracy[precision], kept = _rival(draft, precision, advance)
            if not kept:
                out.add(precision)
    return accuracy, frozenset(out)


def _seen(draft: Draft, sqnr_db: float, metric: float | None) -> tuple[str, bool]:
    """What was seen of a precision, and whether that is within the drop allowed."""
    text, drop = f"{sqnr_db:.1f} dB on golden inputs", draft.recipe.max_drop
    if metric is None or draft.task is None:
        return text, True
    kept = drop is None or drop.allows(draft.task.before, metric)
    beyond = "" if kept else f", beyond the drop of {drop}"
    return f"{text}, metric {draft.task.before:.4f} to {metric:.4f}{beyond}", kept


def _rival(draft: Draft, precision: Precision, advance: Advance) -> tuple[str, bool]:
    """A float engine, judged where it runs here; FP32 is what the others are judged against."""
    if precision == "fp32" or not draft.latency:
        return "the model's graph", True
    assert draft.golden is not None
    session = draft.sessions.get(draft.backend, draft.rivals[precision].engine, draft.target, draft.threads)
    try:
        parity = verify.check_golden(draft.golden, session, draft.recipe.least_golden_db(precision))
    except VerificationError as error:
        return error.message, False
    if draft.recipe.max_drop is None or draft.source.evaluate is None:
        return _seen(draft, worst(parity).sqnr_db, None)
    advance(None, f"metric of {precision}")
    return _seen(draft, worst(parity).sqnr_db, score(draft.source.evaluate, session))


def _by_data(draft: Draft, contest: _Contest) -> Precision:
    """The precision that the target's data call the fastest, of those that can be made and keep the accuracy."""
    said_first = [draft.target.fastest.value] if draft.target.fastest is not None else []
    for precision in (*said_first, *draft.target.precisions):
        able = precision != "int8" or draft.precision == "int8"
        if able and precision in EXACT and precision not in contest.out:
            return precision
    return "fp32"


def _because(draft: Draft, contest: _Contest, shipped: Precision) -> str:
    """Why this precision and none of the others, in full sentences."""
    if draft.recipe.precision != "auto":
        compared = contest.compared.get(shipped)
        return f"{shipped} was asked for{f'; {said(compared, shipped)}' if compared else ''}."
    sentences = [f"{p} is out: {contest.accuracy[p].rstrip('.')}." for p in EXACT if p in contest.out]
    if contest.best is None:
        sentences.append(_by_what_data(draft, shipped))
    for precision, compared in contest.compared.items():
        if precision == shipped or EXACT.index(precision) > EXACT.index(shipped):
            sentences.append(f"{said(compared, precision)}{_forgone(contest, precision, shipped)}.")
    return " ".join(sentences) or f"{shipped} is all there is."


def _by_what_data(draft: Draft, shipped: Precision) -> str:
    why, known = unmeasured(draft) or "the engine is not built here", draft.target.fastest
    if known is not None and known.value == shipped:
        grounds = f"{known.mark}: {known.source}"
    else:
        grounds = f"the first that does of {', '.join(draft.target.precisions)}"
    return f"Not measured, because {why}: {shipped} by the data of target {draft.target.name} ({grounds})."


def _forgone(contest: _Contest, precision: Precision, shipped: Precision) -> str:
    """What a precision that is not shipped would have had, and how to get it."""
    if precision == shipped:
        return ""
    gain = smaller(contest.sizes.get(precision), contest.sizes.get(shipped))
    return f", so that it is not shipped; --precision {precision} ships it{f', {gain}' if gain else ''}"


def _following(draft: Draft) -> Precision | None:
    """The next precision to try after one that does not do."""
    order = [p for p in draft.target.precisions if p != "int8"]
    left = order[order.index(draft.precision) + 1 :] if draft.precision in order else order
    return left[0] if left else None


def _restarted(draft: Draft, precision: Precision) -> Draft:
    """The draft before anything was made in some precision, but with what is worth keeping."""
    for file in draft.directory.glob("model.onnx*"):
        file.unlink()
    shutil.rmtree(draft.directory / "engine", ignore_errors=True)
    assert draft.base is not None
    kept = ("base", "rivals", "refused", "sensitivity", "latency", "latency_shape", "conditions")
    missing = {what: why for what, why in draft.missing.items() if what.startswith(("latency", "disturbed"))}
    return replace(
        draft.base,
        precision=precision,
        missing={**draft.base.missing, **missing},
        **{name: getattr(draft, name) for name in kept},
    )


def _made(draft: Draft, precision: Precision, advance: Advance) -> Draft:
    draft = _restarted(draft, precision)
    for step in BUILD.values():
        draft = step(draft, advance)
    return draft


def _with_latencies(draft: Draft, contest: _Contest) -> Draft:
    """Latencies by what ran in the end: the engine that is shipped, the others by their precision."""
    if draft.precision not in contest.measured:
        return draft
    others = {arm: found for arm, found in draft.latency.items() if arm not in ("engine", draft.precision)}
    named: dict[str, Measurement] = {p: found for p, found in contest.measured.items() if p != draft.precision}
    latency: dict[str, Measurement] = {"engine": contest.measured[draft.precision], **named, **others}
    for arm in (name for name, found in latency.items() if not found.stable):
        draft = draft.without(f"steady {arm}", f"Latency of {arm} did not reach a steady state.")
    faster = speedup(latency["fp32"], latency["engine"]) if "fp32" in latency else None
    return replace(draft, latency=latency, faster=faster)


def _with_warnings(draft: Draft, contest: _Contest) -> Draft:
    """What a person must not miss: an int8 that was not shipped, or one that was asked for and is not faster."""
    choice = draft.choice
    if choice is None:
        return draft
    if not choice.forced:
        lost = "int8" in contest.accuracy and choice.shipped != "int8"
        return draft.without("precision", f"int8 was not shipped. {choice.because}") if lost else draft
    compared = contest.compared.get(choice.shipped)
    if compared is None or claimed(compared.ratio):
        return draft
    return draft.without("speed", f"{choice.because} On this machine nothing shows that it is faster.")


def _with_fallback(draft: Draft, advance: Advance) -> Draft:
    """Beside an int8 that nobody measured: the float graph, for the device to measure it against."""
    here = draft.backend.available().run and verify.is_device(draft.target)
    if here or draft.choice is None or draft.choice.forced or draft.choice.measured or draft.precision != "int8":
        return draft
    halves = [p for p in draft.target.precisions if p not in ("int8", "fp32")]
    for precision in (*halves[:1], "fp32"):
        advance(None, f"fallback, {precision}")
        try:
            return _fallback(draft, precision)
        except VerificationError as error:
            draft = draft.without("fallback", f"No {precision} goes along: {error.message}")
    return draft


def _fallback(draft: Draft, precision: Precision) -> Draft:
    assert draft.golden is not None
    graph, least = quantize.float_graph(draft, precision), draft.recipe.least_golden_db(precision)
    session = draft.sessions.get(emulator(), emulated(graph, precision), draft.target, draft.threads)
    parity = verify.check_golden(draft.golden, session, least)
    directory = (draft.directory / FALLBACK).parent
    directory.mkdir()
    quantize.copied(graph, directory)
    entry = FallbackEntry(
        precision=precision, graph_digest=graph.digest, minimum_sqnr_db=round(verify.lenient(least, parity), 2)
    )
    text = f"{FALLBACK} is the {precision} graph: edgepress build measures it against {draft.precision} on the device."
    return replace(draft, fallback=entry, notes=(*draft.notes, text))
