"""What was tried: the precisions of an export, and the points of a search."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Literal

from ..findings.choice import Choice
from ..findings.report import latency_text, megabytes
from ..timing.measurement import Latency
from .content import Block, Point, Scatter, Sentences, Table
from .reportable import Search, Tried


def choice_blocks(choice: Choice, latency: Mapping[str, Latency]) -> Iterator[Block]:
    """The precisions that were looked at.

    Args:
        latency: by precision, of those that were measured.
    """
    rows = []
    for one in choice.contenders:
        faster = "" if one.faster is None else f"{one.faster} as fast as {one.against}"
        p50 = latency_text(latency[one.precision], 50) if one.precision in latency else "not measured"
        size = "not built here" if one.size is None else megabytes(one.size)
        mark = "shipped" if one.precision == choice.shipped else "" if one.kept else "out"
        rows.append((one.precision, mark, p50, faster, size, one.accuracy))
    head = ("precision", "", "latency p50", "compared", "engine", "accuracy")
    yield Table(title="Precisions", head=head, rows=tuple(rows), numbers=(2, 4))
    points = tuple(
        Point(name=one.precision, across=_interval(latency[one.precision]), up=one.size / 1e6, named=True,
              chosen=one.precision == choice.shipped, front=True)
        for one in choice.contenders if one.size is not None and latency.get(one.precision, None) is not None
    )  # fmt: skip
    if len(points) > 1:
        yield _scatter("Precisions by latency and size", _front(points), {}, "median latency, ms")


def _interval(found: Latency) -> tuple[float, float, float]:
    p50, interval = found.p50 or found.mean, found.intervals.get(50)
    return (p50, p50, p50) if interval is None else (p50, interval.low, interval.high)


def _front(points: tuple[Point, ...]) -> tuple[Point, ...]:
    """The points, of which those are marked that no other one beats in both."""

    def beaten(one: Point) -> bool:
        return any(o.across[0] <= one.across[0] and o.up <= one.up and o is not one for o in points)

    return tuple(
        Point(name=p.name, across=p.across, up=p.up, named=p.named, chosen=p.chosen, front=not beaten(p))
        for p in points
    )


def search_blocks(search: Search) -> Iterator[Block]:
    """Every point of a search that was measured, and the front as a table."""
    timed = all(one.latency is not None for one in search.tried if not one.early)
    points = tuple(point for one in search.tried if (point := _point(one, timed)) is not None)
    front = sum(one.front for one in search.tried)
    across = "median latency, ms" if timed else search.quality
    limits: dict[str, tuple[Literal["across", "up"], float]] = {}
    if timed and search.most_ms is not None:
        limits[f"limit {search.most_ms:g} ms"] = ("across", search.most_ms)
    if search.most_bytes is not None:
        limits[f"limit {megabytes(search.most_bytes)}"] = ("up", search.most_bytes / 1e6)
    if len(points) > 1:
        yield _scatter(f"Search: {front} of {len(points)} points on the Pareto front", points, limits, across)
    yield Table(
        title="Points on the Pareto front, the smallest first",
        head=("point", "", "latency p50", "engine", search.quality),
        rows=tuple(_row(one) for one in sorted(search.tried, key=lambda o: o.size or 0) if one.front or one.chosen),
        numbers=(2, 3, 4),
    )
    if search.how:
        yield Sentences(items=(search.how,), points=False)


def _row(one: Tried) -> tuple[str, ...]:
    latency = "not measured" if one.latency is None else f"{one.latency} ms"
    size = "not built here" if one.size is None else megabytes(one.size)
    return (
        one.name,
        "chosen" if one.chosen else "",
        latency,
        size,
        "" if one.quality is None else f"{one.quality:.4g}",
    )


def _point(one: Tried, timed: bool) -> Point | None:
    if one.early or one.size is None:
        return None
    if timed and one.latency is not None:
        across = (one.latency.value, one.latency.low, one.latency.high)
    elif one.quality is not None and not timed:
        across = (one.quality, one.quality, one.quality)
    else:
        return None
    return Point(name=one.name, across=across, up=one.size / 1e6, front=one.front, chosen=one.chosen)


def _scatter(
    title: str,
    points: tuple[Point, ...],
    limits: Mapping[str, tuple[Literal["across", "up"], float]],
    across: str,
) -> Scatter:
    best = [point for point in points if point.front]
    chosen = next((point for point in points if point.chosen), None)
    kept = "" if chosen is None else f" Chosen: {chosen.name}, at {chosen.across[0]:.3f} and {chosen.up:.2f} MB."
    return Scatter(
        title=title,
        says=f"{len(points)} points, {len(best)} of them on the front; bars are 95 % intervals.{kept}",
        across=across,
        up="size of the engine, MB",
        points=points,
        limits=limits,
    )
