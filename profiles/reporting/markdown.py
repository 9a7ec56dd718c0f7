"""A page as Markdown, as GitHub and others show it."""

from __future__ import annotations

from collections.abc import Iterator

from .content import (
    Bars,
    Block,
    Command,
    Course,
    Distribution,
    Illustration,
    Page,
    Part,
    Plot,
    Scatter,
    Section,
    Sentences,
    Table,
    Trend,
)
from .text import in_markdown, milliseconds

MARKS = {"good": "✓", "bad": "✗", "open": "?", "absent": "–", "plain": "·"}  # noqa: RUF001
COURSE_ROWS = 10


def markdown(page: Page) -> str:
    """The same content as on the HTML page; a plot is its words and its figures."""
    lines = [f"# {in_markdown(page.title)}", ""]
    for section in page.overview:
        lines += _section(section, 2)
    for part in page.parts:
        lines += _part(part, titled=len(page.parts) > 1)
    return "\n".join([*lines, page.made, ""])


def _part(part: Part, *, titled: bool) -> Iterator[str]:
    if titled:
        yield from (f"## {in_markdown(part.title)}", "")
    yield from (f"**{in_markdown(part.verdict)}**", "", in_markdown(part.about), "")
    tiles = tuple((t.topic, f"{MARKS[t.status]} {t.label}", t.found, "; ".join(t.details)) for t in part.tiles)
    yield from _table(Table(title="", head=("verdict on", "", "found", "details"), rows=tiles))
    for section in part.sections:
        yield from _section(section, 3 if titled else 2)


def _section(section: Section, level: int) -> Iterator[str]:
    yield from (f"{'#' * level} {in_markdown(section.title)}", "")
    for block in section.blocks:
        yield from _block(block)


def _block(block: Block) -> Iterator[str]:
    match block:
        case Sentences():
            texts = map(in_markdown, block.items)
            yield from ((f"- {text}" if block.points else f"{text}\n") for text in texts)
            yield from [""] if block.points else []
        case Command():
            yield from (f"    {' '.join(block.text.splitlines())}", "")
        case Table():
            yield from _table(block)
        case Illustration():
            yield from (f"**{in_markdown(block.title)}.** {in_markdown(' '.join(block.says))}", "")
            yield from (f"![{in_markdown(block.title)}]({block.file})", "")
            yield from _table(block.figures)
        case _:
            yield from (f"**{in_markdown(block.title)}.** {in_markdown(block.says)}", "")
            yield from _table(figures(block))


def figures(plot: Plot) -> Table:
    """What a plot draws, in figures: what is read where nothing can be drawn."""
    match plot:
        case Distribution():
            rows = tuple(
                (arm.name, *(_mark(arm.marks.get(p)) for p in ("p50", "p90", "p95", "p99"))) for arm in plot.arms
            )
            return Table(title="", head=("", "p50", "p90", "p95", "p99"), rows=rows, numbers=(1, 2, 3, 4))
        case Course():
            return _course(plot)
        case Scatter():
            rows = tuple(
                (p.name, f"{p.across[0]:.3f} [{p.across[1]:.3f}, {p.across[2]:.3f}]", f"{p.up:.3f}",
                 ", ".join(w for w, is_so in (("front", p.front), ("chosen", p.chosen)) if is_so)) for p in plot.points
            )  # fmt: skip
            return Table(title="", head=("", plot.across, plot.up, ""), rows=rows, numbers=(1, 2))
        case Trend():
            rows = tuple((step.name, step.text, "unstable" if step.open else "") for step in plot.steps)
            return Table(title="", head=("run", plot.title, ""), rows=rows, numbers=(1,))
        case Bars():
            rows = tuple((bar.name, bar.text, plot.legend.get(bar.group, "")) for bar in plot.bars)
            head = ("", "", "") if plot.legend else ("", "")
            return Table(title="", head=head, rows=tuple(row[: len(head)] for row in rows), numbers=(1,))


def _mark(mark: tuple[float, float, float] | None) -> str:
    if mark is None:
        return "too few samples"
    value, low, high = mark
    return milliseconds(value) if low == high else f"{milliseconds(value)} [{low:.3f}, {high:.3f}]"


def _course(plot: Course) -> Table:
    rows = []
    for line in plot.lines:
        step = max(1, len(line.at) // COURSE_ROWS)
        rows += [
            (line.name, f"{line.at[i]:.0f}", *(f"{band[i]:.3f}" for band in (line.low, line.middle, line.high)))
            for i in range(0, len(line.at), step)
        ]
    return Table(
        title="", head=("", plot.axis, "p10, ms", "p50, ms", "p90, ms"), rows=tuple(rows), numbers=(1, 2, 3, 4)
    )


def _table(table: Table) -> Iterator[str]:
    if table.title:
        yield from (f"**{in_markdown(table.title)}**", "")
    yield f"| {' | '.join(map(in_markdown, table.head))} |"
    yield f"|{'|'.join('---:' if column in table.numbers else '---' for column in range(len(table.head)))}|"
    yield from (f"| {' | '.join(map(in_markdown, row))} |" for row in table.rows)
    yield ""
