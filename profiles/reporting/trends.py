"""A history as one part of a page: how each figure went from run to run."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from ..budget.figure import TIMED, UNITS, Figure, spelt
from ..findings.history import History, Run, series
from .content import HUES, Block, Hue, Part, Section, Sentences, Table, Tile, Tone, Trend, TrendPoint
from .text import counted, listed

QUIET = ("met", "unmeasured")  # what nobody has to look at
RECENT = 20  # runs in the table; the plots have all of them
SCALES = {
    "ms": (1.0, "ms"),
    "bytes": (1e-6, "MB"),
    "x": (1.0, "times"),
    "/s": (1.0, "samples/s"),
    "tok/s": (1.0, "tokens/s"),
    "share": (100.0, "%"),
    "": (1.0, ""),
}


def history_part(found: History, name: str) -> Part:
    """Every model and target of a history.

    Args:
        name: of the file.
    """
    groups = series(found.runs)
    missed = [f"{key[0]} for {key[1]}" for key, runs in groups.items() if "missed" in runs[-1].verdicts.values()]
    verdict = f"The last run of {listed(missed)} missed a budget." if missed else "No budget was missed by a last run."
    status: Tone = "bad" if missed else "good"
    return Part(
        title=f"{name}, trends",
        about=f"{counted(len(found.runs), 'run')} of {counted(len(groups), 'model')} and target",
        verdict=verdict if found.runs else "The history is empty.",
        status=status if found.runs else "absent",
        tiles=tuple(_tile(key, runs) for key, runs in groups.items()),
        sections=(*(_section(key, runs) for key, runs in groups.items()), *_cut(found)),
    )


def _tile(key: tuple[str, str], runs: Sequence[Run]) -> Tile:
    """The last run of one model and target."""
    last = runs[-1]
    statuses = set(last.verdicts.values())
    looks: tuple[Tone, str] = ("plain", "no limit asked")
    for status, look in (("met", ("good", "within the limits")), ("unstable", ("open", "unstable")),
                         ("undecided", ("open", "undecided")), ("missed", ("bad", "over a limit"))):  # fmt: skip
        looks = look if status in statuses else looks  # type: ignore[assignment]
    figure = last.figures.get("latency_p50") or last.figures.get("size")
    details = (f"{last.date}, {last.precision}", *([f"commit `{last.commit[:12]}`"] if last.commit else ()))
    return Tile(
        topic=f"{key[0]} for {key[1]}",
        status=looks[0],
        label=looks[1],
        found="no figure" if figure is None else str(figure),
        details=details,
    )


def _section(key: tuple[str, str], runs: Sequence[Run]) -> Section:
    return Section(title=f"{key[0]} for {key[1]}", blocks=(*_plots(runs), _table(runs)))


def _plots(runs: Sequence[Run]) -> Iterator[Block]:
    machines = list(dict.fromkeys(_machine(run) for run in runs))
    groups: dict[str, Hue] = {one: HUES[min(place, len(HUES) - 1)] for place, one in enumerate(machines)}
    for name, unit in UNITS.items():
        kept = [(run, run.figures[name]) for run in runs if name in run.figures]
        if len(kept) > 1 and name not in ("accuracy_drop", "perplexity_rise"):
            yield _trend(name, unit, kept, groups)


def _trend(name: str, unit: str, kept: Sequence[tuple[Run, Figure]], groups: dict[str, Hue]) -> Trend:
    factor, said = SCALES[unit]
    first, last = kept[0][1], kept[-1][1]
    course = f"{spelt(first.value, unit)} to {spelt(last.value, unit)}"
    kinds = len({_machine(run) for run, _ in kept})
    apart = kinds > 1 and unit in TIMED
    change = f" ({last.value / first.value - 1:+.1%})" if first.value and not apart else ""
    more = f" On {counted(kinds, 'machine')}, which do not compare." if apart else ""
    ring = " A ring marks an unstable run." if any(figure.unsteady for _, figure in kept) else ""
    return Trend(
        title=name,
        says=f"{counted(len(kept), 'run')}: {course}{change}.{more}{ring}",
        up=f"{name}, {said}" if said else name,
        groups=groups,
        steps=tuple(
            TrendPoint(
                name=f"{run.date[:10]} {run.commit[:8]}".strip(),
                machine=_machine(run),
                value=figure.value * factor,
                low=figure.low * factor,
                high=figure.high * factor,
                open=bool(figure.unsteady),
                text=str(figure),
            )
            for run, figure in kept
        ),
    )


def _table(runs: Sequence[Run]) -> Table:
    """The last runs, the newest first."""
    names = [name for name in UNITS if any(name in run.figures for run in runs[-RECENT:])]
    rows = tuple(
        (
            run.date,
            run.commit[:12],
            run.precision,
            *(str(run.figures[name]) if name in run.figures else "" for name in names),
            ", ".join(f"{what} {status}" for what, status in run.verdicts.items() if status not in QUIET),
        )
        for run in reversed(runs[-RECENT:])
    )
    return Table(title="Last runs", head=("date", "commit", "precision", *names, "verdicts but met"), rows=rows)


def _cut(found: History) -> Iterator[Section]:
    if found.cut:
        lines = tuple(f"Line {number} was left out: {why}." for number, why in found.cut.items())
        yield Section(title="What could not be read", blocks=(Sentences(items=lines),))


def _machine(run: Run) -> str:
    threads = f", {counted(run.threads, 'thread')}" if run.threads else ""
    return f"{run.machine}{threads}"
