"""Raw latencies as a table, as a distribution and over time."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from ..findings.report import SHOWN, latency_text, percentile
from ..timing.measurement import Latency, Measurement
from .content import Block, Course, Distribution, Histogram, Hue, Line, Table
from .text import counted, milliseconds

BINS = 72
WINDOWS = 60  # points on the axis of time


@dataclass(frozen=True, slots=True, kw_only=True)
class TimedArm:
    """One of the things that were measured, with what is kept of it."""

    name: str
    group: Hue
    latency: Latency
    samples: Measurement | None


Kept = Sequence[tuple[TimedArm, Measurement]]


def latency_blocks(arms: Sequence[TimedArm]) -> Iterator[Block]:
    """The table of figures, and the plots for which raw samples are kept."""
    yield figures(arms)
    kept = [(arm, arm.samples) for arm in arms if arm.samples is not None and len(arm.samples.samples) > 1]
    if kept:
        yield distribution(kept)
        yield course(kept)


def figures(arms: Sequence[TimedArm]) -> Table:
    """One column an arm."""
    found = [arm.latency for arm in arms]
    rows = [
        *((f"p{p}", *(latency_text(one, p) for one in found)) for p in SHOWN),
        ("smallest", *(milliseconds(one.least) for one in found)),
        ("mean", *(milliseconds(one.mean) for one in found)),
        ("coefficient of variation", *(f"{one.variation:.1%}" for one in found)),
        ("samples", *(f"{one.samples:,}" for one in found)),
        ("outliers, all kept", *(_outliers(one) for one in found)),
        ("steady state", *("reached" if one.stable else "NOT reached: unstable" for one in found)),
        ("threads waited for a core", *(_waited(one) for one in found)),
    ]
    return Table(
        title="One inference at a time, with 95 % intervals",
        head=("", *(arm.name for arm in arms)),
        rows=tuple(row for row in rows if any(row[1:])),
        numbers=tuple(range(1, len(arms) + 1)),
    )


def _outliers(found: Latency) -> str:
    return f"{found.outliers:,} beyond 1.5 IQR, {found.far_outliers:,} beyond 3"


def _waited(found: Latency) -> str:
    waited: float | None = getattr(found, "waited", None)
    return "" if waited is None else f"{waited:.1%} of their time"


def distribution(kept: Kept) -> Distribution:
    """Histograms in bins of equal ratio, over the range of all samples."""
    data = [(arm, np.asarray(found.samples) / 1e6) for arm, found in kept]
    low, high = min(float(d.min()) for _, d in data), max(float(d.max()) for _, d in data)
    edges = np.geomspace(max(low, 1e-6) * 0.999, max(high, 2e-6) * 1.001, BINS + 1)
    arms = tuple(
        Histogram(
            name=arm.name,
            group=arm.group,
            edges=tuple(float(f"{edge:.5g}") for edge in edges),
            counts=tuple(int(n) for n in np.histogram(d, edges)[0]),
            marks=dict(_marks(arm.latency)),
        )
        for arm, d in data
    )
    each = (f"{arm.name}: half of {counted(len(d), 'sample')} within {milliseconds(arm.latency.p50)}, "
            f"the largest {milliseconds(float(d.max()))}" for arm, d in data)  # fmt: skip
    return Distribution(
        title="Distribution of latencies", says=f"Every sample on a logarithmic axis. {'; '.join(each)}.", arms=arms
    )


def _marks(found: Latency) -> Iterator[tuple[str, tuple[float, float, float]]]:
    for p in SHOWN:
        value, interval = percentile(found, p), found.intervals.get(p)
        if value is not None:
            yield f"p{p}", (value, value, value) if interval is None else (value, interval.low, interval.high)


def course(kept: Kept) -> Course:
    """Medians over time, with the band of the middle 80 %."""
    by_round = all(found.rounds for _, found in kept)
    lines = tuple(_line(arm, found, by_round) for arm, found in kept)
    together = "What hits all of them in one round is the machine's doing. " if by_round and len(kept) > 1 else ""
    return Course(
        title="Latency over time",
        says=f"{together}{' '.join(map(_drift, lines))}",
        axis=("round of measuring in turn" if len(kept) > 1 else "slice of time")
        if by_round
        else "samples in the order taken, %",
        lines=lines,
    )


def _line(arm: TimedArm, found: Measurement, by_round: bool) -> Line:
    data = np.asarray(found.samples) / 1e6
    place = np.asarray(found.rounds) if by_round else np.arange(len(data)) * 100.0 / len(data)
    end = int(place.max()) + 1
    ends = np.linspace(0, end, min(WINDOWS, end, len(data)) + 1)
    window = np.digitize(place, ends[1:-1])
    used = np.unique(window)
    low, middle, high = (tuple(float(f"{np.percentile(data[window == w], p):.5g}") for w in used) for p in (10, 50, 90))
    at = tuple(float(f"{(ends[w] + ends[w + 1]) / 2:.5g}") for w in used)
    return Line(name=arm.name, group=arm.group, at=at, low=low, middle=middle, high=high)


def _drift(line: Line) -> str:
    """The first and the last fifth, in words."""
    part = max(1, len(line.middle) // 5)
    first, last = float(np.median(line.middle[:part])), float(np.median(line.middle[-part:]))
    change = f"{milliseconds(first)} in the first fifth, {milliseconds(last)} in the last"
    return f"{line.name}: {change} ({last / first - 1:+.1%})."
