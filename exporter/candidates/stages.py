"""The stages that make candidates and measure them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from ...backends.base import Engine, Feed
from ...backends.registry import load_backend
from ...errors import InputError
from ...profiles.device.precision import GIVEN, PrecisionName, load_precision
from ...profiles.device.target import Target
from ...profiles.findings.gap import Gap
from ...profiles.machine import processes
from ...profiles.timing.measure import Call
from ..capture.captured import Captured
from ..progress import Advance
from ..quantization.excluding import check_patterns
from ..recipe import Recipe, choose_precision
from ..sources import Source, torch_predict
from ..workshop import Workshop
from .candidate import Candidate, Refused
from .make import Maker, Watch, unwatched
from .measure import disturbed, measure_in_turn

Entries = tuple[Candidate | Refused, ...]


def make(
    *,
    source: Source,
    original: Source | None,
    target: Target,
    recipe: Recipe,
    captured: Captured,
    workshop: Workshop,
    advance: Advance,
    watch: Watch = unwatched,
) -> dict[str, Any]:
    """Make the precision that is asked for, or the first that does; and floats, where they can be measured against it.

    Returns:
        `candidates`: the one that does first, then the floats to compare with, then what was refused; and `missing`.

    Raises:
        InputError, VerificationError: nothing that may be shipped can be made, or `exclude` matches nothing.
    """
    check_patterns(recipe.exclude, captured.graph, target.scheme)
    maker = Maker(
        source=source,
        original=original,
        target=target,
        recipe=recipe,
        captured=captured,
        workshop=workshop,
        advance=advance,
        watch=watch,
    )
    leading, remark = choose_precision(recipe, target, has_data=has_data(recipe, source))
    if recipe.qat and not load_precision(leading).integer:
        raise InputError(
            f"`qat` trains integers, and {leading} is what {target.name} would get.",
            hint="Leave out --qat, or choose another --precision or --target.",
        )
    entry, refused = _first(maker, (leading, *_following(leading, target, recipe)))
    if processes.rank() > 0:
        raise SystemExit(0)  # of several processes that trained together the first goes on
    rivals = _rivals(replace(maker, watch=unwatched), entry, refused)
    entries = (entry, *rivals, *refused)
    return {"candidates": entries, "missing": (Gap(about="precision", why=remark),) if remark else ()}


def _first(maker: Maker, precisions: Sequence[PrecisionName]) -> tuple[Candidate, list[Refused]]:
    """The first that does, and what was refused before it.

    Raises:
        InputError, VerificationError: none does; what was wrong with the last.
    """
    refused: list[Refused] = []
    for precision in precisions:
        entry = maker.made(precision)
        if isinstance(entry, Candidate):
            return entry, refused
        refused.append(entry)
    raise refused[-1].error


def measure(
    *,
    source: Source,
    original: Source | None,
    target: Target,
    recipe: Recipe,
    captured: Captured,
    candidates: Entries,
    workshop: Workshop,
    advance: Advance,
) -> dict[str, Any]:
    """Measure where what is seen is what the device does; say why not otherwise.

    Returns:
        `timed`, None where nothing was measured; and `missing`.
    """
    leading, *rivals = (entry for entry in candidates if isinstance(entry, Candidate))
    reason = why_unmeasured(target, recipe, workshop)
    if reason := reason or ("" if leading.engine is not None else "the engine is not built here"):
        return {"timed": None, "missing": (Gap(about="latency", why=f"Latency was not measured: {reason}."),)}
    feed = captured.golden.feeds[0]
    engines = {entry.precision: _timed(entry) for entry in (leading, *rivals)}
    engines |= _of_rungs(leading, target, workshop, advance)
    # What runs here says nothing of how fast it is elsewhere.
    beside = _given(original or source, feed, workshop) if workshop.place.here else {}
    timed = measure_in_turn(engines, feed, workshop.place, workshop.threads, lambda share: advance(share, ""), beside)
    return {"timed": timed, "missing": disturbed(timed)}


def _of_rungs(leading: Candidate, target: Target, workshop: Workshop, advance: Advance) -> dict[str, Engine]:
    """Engines of the rungs that were tried on the way, to be measured beside what came of it."""
    engines: dict[str, Engine] = {}
    for arm, graph in leading.rungs.items():
        advance(None, f"{arm} engine")
        directory = workshop.scratch / "rungs" / arm.replace(" ", "-")
        directory.mkdir(parents=True)
        built = workshop.place.compile(graph, target, directory, leading.precision)
        runs = workshop.place.runs(graph, target, leading.precision, built)
        assert runs is not None
        engines[arm] = runs
    return engines


def why_unmeasured(target: Target, recipe: Recipe, workshop: Workshop) -> str:
    """Why latencies of the target's engines are not measured here, one clause; empty where they are."""
    return workshop.place.why_unmeasured(target) if recipe.measure else "it was switched off (--no-measure)"


def has_data(recipe: Recipe, source: Source) -> bool:
    """Whether there is something to calibrate on."""
    return any(data is not None for data in (recipe.calibration, recipe.statistics, source.calibration))


def _following(leading: PrecisionName, target: Target, recipe: Recipe) -> Sequence[PrecisionName]:
    """What may be tried after one that does not do: nothing else, where it was asked for."""
    floats = target.floats
    if recipe.precision != "auto":
        return ()
    return floats[floats.index(leading) + 1 :] if leading in floats else floats


def _rivals(maker: Maker, leading: Candidate, refused: Sequence[Refused]) -> list[Candidate]:
    """The FP32 engine, to compare with, and the one in the runtime's best float where it can be measured here."""
    if leading.engine is None:
        return []
    wanted: list[PrecisionName] = ["fp32"]
    best = _best_float(maker.target)
    if load_precision(leading.precision).integer and not why_unmeasured(maker.target, maker.recipe, maker.workshop):
        wanted.append(best)
    taken = {leading.precision, *(entry.precision for entry in refused)}
    distinct = [precision for precision in dict.fromkeys(wanted) if precision not in taken]
    return [maker.compiled(maker.lowered(precision)) for precision in distinct]


def _best_float(target: Target) -> PrecisionName:
    """The float that the runtime is fastest in: a half precision of the target, else what it chooses by itself here."""
    return target.halves[0] if target.halves else load_backend(target.backend).native_float(target)


def _timed(candidate: Candidate) -> Engine:
    assert candidate.runs is not None
    return candidate.runs


def _given(source: Source, feed: Feed, workshop: Workshop) -> dict[str, Call]:
    """The model as given, in torch."""
    if source.module is None:
        return {}
    predict = torch_predict(source, workshop.threads)
    return {GIVEN: lambda: predict(feed)}
