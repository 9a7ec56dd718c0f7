"""The ladder: what was tried where int8 missed what is asked, with what each rung gave and took."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from ..findings.choice import Contender
from ..findings.ladder import Ladder, LadderStep
from ..findings.report import latency_text
from ..timing.measurement import Latency
from .content import Bar, Bars, Block, Sentences, Table
from .text import decibels

HEAD = ("rung", "", "SQNR", "on others at least", "metric", "latency p50", "layers in float", "took", "what was done")


def ladder_blocks(
    found: Ladder, latency: Mapping[str, Latency], precision: str, floats: tuple[Contender, ...] = ()
) -> Iterator[Block]:
    """Each rung, the least costly first; then the floats, which are the last ones.

    Args:
        latency: by arm and by precision, of those that were measured.
        precision: of the rungs.
        floats: what is left where none holds.
    """
    made = [step for step in found.steps if step.arm]
    scored = all(step.metric is not None for step in made)
    bars = tuple(_bar(step, scored=scored) for step in made)
    measure = "the user's metric" if scored else "SQNR of the worst output on calibration samples"
    yield Bars(
        title="The ladder",
        says=f"{measure[0].upper()}{measure[1:]} of int8 on each rung, the least costly first. Longer is better. "
        f"Required: {found.required}.",
        bars=bars,
        legend={"first": "does not hold", "second": "holds"} if any(step.holds for step in made) else {},
        mark=("the model as given", found.before) if scored and found.before is not None else None,
    )
    rows = [_row(step, latency, precision) for step in found.steps]
    rows += [_float_row(one, latency) for one in floats]
    yield Table(title="Rungs", head=HEAD, rows=tuple(rows), numbers=(2, 3, 4, 5, 6, 7))
    yield from _trained(found)


def _trained(found: Ladder) -> Iterator[Block]:
    if found.training is None:
        return
    lines = found.training.lines()
    if found.trained_db is not None:
        lines = (*lines, f"The graph of integers gives what the trained one gives, to {decibels(found.trained_db)}.")
    yield Sentences(items=lines)


def _bar(step: LadderStep, *, scored: bool) -> Bar:
    value = step.metric if scored else step.sqnr_db
    assert value is not None
    text = f"{value:.4f}" if scored else decibels(value)
    return Bar(name=step.name, value=max(0.0, value), text=text, group="second" if step.holds else "first")


def _row(step: LadderStep, latency: Mapping[str, Latency], precision: str) -> tuple[str, ...]:
    took = f"{step.seconds:.1f} s"
    if not step.arm:
        return step.title, "not made", "", "", "", "", "", took, step.said
    arm = precision if step.shipped else step.arm
    timed = latency_text(latency[arm], 50) if arm in latency else "not measured"
    figures = ("" if figure is None else decibels(figure) for figure in (step.sqnr_db, step.assured_db))
    metric = "" if step.metric is None else f"{step.metric:.4f}"
    holds = f"{'holds' if step.holds else 'does not hold'}{', taken' if step.shipped else ''}"
    return step.title, holds, *figures, metric, timed, str(step.left), took, step.said


def _float_row(one: Contender, latency: Mapping[str, Latency]) -> tuple[str, ...]:
    timed = latency_text(latency[one.precision], 50) if one.precision in latency else "not measured"
    return (
        f"all in {one.precision}",
        "holds" if one.kept else "does not hold",
        "",
        "",
        "",
        timed,
        "all",
        "",
        one.accuracy,
    )
