"""How fast a decoder writes where it is exported, and what it needs in memory."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from ...backends.places.text_runs import Prompts
from ...backends.places.text_speed import time_text
from ...errors import RefusedError, UnservedError
from ...profiles.device.grid import Grid
from ...profiles.findings.fit import why_no_room
from ...profiles.findings.gap import Gap, joined
from ...profiles.findings.language import Footprint
from ..language.footprint import footprint
from ..language.quantize import TABLE
from ..progress import Advance
from .candidate import TextCandidate
from .grids import shapes_of
from .room import least_bytes
from .task import TextTask


def memory_of(grids: Mapping[str, Grid | None], task: TextTask) -> Footprint:
    """The bytes that it needs at its full context, computed.

    Raises:
        RefusedError: more than the device has.
    """
    taken = {name: task.form.memory_bytes(*shape, grids.get(name)) for name, shape in shapes_of(task).items()}
    return _fitting(task, sum(taken.values()), taken.get(TABLE, 0))


def need_memory(task: TextTask) -> None:
    """See, before anything is rounded, that the device holds the fewest bits that may be tried.

    Raises:
        RefusedError: it does not.
    """
    _fitting(task, least_bytes(task), 0)


def _fitting(task: TextTask, weights: int, table: int) -> Footprint:
    decoder = task.source.decoder
    memory = footprint(decoder, weights=weights, table=table, context=decoder.context, value=task.form.cache_bytes)
    if why := why_no_room(memory, task.target):
        raise RefusedError(
            f"{task.source.name} does not fit into {task.target.name}: {why}.",
            hint="Choose fewer bits with --precision, or a device with more memory.",
        )
    return memory


def measured(candidate: TextCandidate, task: TextTask, advance: Advance) -> TextCandidate:
    """The candidate with its speed, or why it was not measured."""
    engine, why = candidate.engine, _why_not(candidate, task)
    if engine is None or why:
        return _without(candidate, why)
    decoder = task.source.decoder
    prompts = Prompts.within(decoder.context, decoder.vocabulary)
    try:
        place = task.place
        timing = time_text(
            engine,
            prompts,
            task.threads,
            name=task.source.name,
            tick=lambda share: advance(share, ""),
            host=place.host,
            watch=place.watch,
        )
    except UnservedError as error:
        return _without(candidate, error.message)
    gaps = tuple(Gap(about="disturbed", why=f"Speed: {why}.", subject=why) for why in timing.disturbed)
    return replace(candidate, language=timing.told_of(candidate.language), missing=joined(candidate.missing, gaps))


def _why_not(candidate: TextCandidate, task: TextTask) -> str:
    if not task.recipe.measure:
        return "it was switched off (--no-measure)"
    return task.place.why_unmeasured(task.target) or ("the engine is not built here" if candidate.not_built else "")


def _without(candidate: TextCandidate, why: str) -> TextCandidate:
    clause = why.rstrip(".")
    missing = {**candidate.language.missing, "speed": clause}
    gap = Gap(about="latency", why=f"Speed was not measured: {clause}.")
    language = replace(candidate.language, missing=missing)
    return replace(candidate, language=language, missing=joined(candidate.missing, (gap,)))
