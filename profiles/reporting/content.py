"""A page as plain data: what every view shows, and nothing of how it looks.

Texts are one line each; backticks mark what is typed or named by a program, and no other mark-up is known.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

Tone = Literal["good", "bad", "open", "absent", "plain"]
Hue = Literal["first", "second", "third", "fourth", "quiet"]
HUES: tuple[Hue, ...] = ("first", "second", "third", "fourth")


@dataclass(frozen=True, slots=True, kw_only=True)
class Tile:
    """One verdict.

    Attributes:
        topic: what it is about, one word or two.
        status: how it looks; `label` says the same in words.
        found: the figure, or that there is none.
        details: what it rests on, sentences or clauses.
    """

    topic: str
    status: Tone
    label: str
    found: str
    details: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Sentences:
    """Paragraphs, or points of a list."""

    kind: Literal["sentences"] = "sentences"
    items: tuple[str, ...]
    points: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Command:
    """What to type."""

    kind: Literal["command"] = "command"
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """Cells by row; the first cell of a row names it.

    Attributes:
        numbers: columns that hold numbers, from 0.
    """

    kind: Literal["table"] = "table"
    title: str
    head: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    numbers: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Histogram:
    """How often which latency, of one arm.

    Attributes:
        edges: of the bins, in milliseconds, one more than counts.
        marks: figures on the same axis by name, each with its interval where it has one: (value, low, high).
    """

    name: str
    group: Hue
    edges: tuple[float, ...]
    counts: tuple[int, ...]
    marks: Mapping[str, tuple[float, float, float]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Distribution:
    """Histograms of latencies on one logarithmic axis that holds every sample.

    Attributes:
        says: the plot in words.
    """

    kind: Literal["distribution"] = "distribution"
    title: str
    says: str
    arms: tuple[Histogram, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """One arm over time.

    Attributes:
        at: position on the axis of time.
        low, middle, high: 10 %, 50 % and 90 % of the samples there, in milliseconds.
    """

    name: str
    group: Hue
    at: tuple[float, ...]
    low: tuple[float, ...]
    middle: tuple[float, ...]
    high: tuple[float, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Course:
    """Latencies over time; `axis` names it."""

    kind: Literal["course"] = "course"
    title: str
    says: str
    axis: str
    lines: tuple[Line, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Point:
    """Something that was tried.

    Attributes:
        across: (value, low, high); low and high equal the value where there is no interval.
        front: nothing else is better in every respect.
        named: the name is drawn beside it.
    """

    name: str
    across: tuple[float, float, float]
    up: float
    front: bool = False
    chosen: bool = False
    named: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Scatter:
    """What was tried; `limits` are lines that were asked for, by name: (axis, value)."""

    kind: Literal["scatter"] = "scatter"
    title: str
    says: str
    across: str
    up: str
    points: tuple[Point, ...]
    limits: Mapping[str, tuple[Literal["across", "up"], float]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Bar:
    """A value with its text; `low` and `high` where it has an interval."""

    name: str
    value: float
    text: str
    group: Hue = "first"
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Bars:
    """Values side by side.

    Attributes:
        legend: what the groups mean.
        mark: a value that a line is drawn at, and its name.
    """

    kind: Literal["bars"] = "bars"
    title: str
    says: str
    bars: tuple[Bar, ...]
    legend: Mapping[Hue, str] = field(default_factory=dict)
    mark: tuple[str, float] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class TrendPoint:
    """A figure of one run.

    Attributes:
        low, high: equal to the value where it is exact.
        open: the machine was busy, or the figure unstable for another reason.
        text: the figure with its interval and unit.
    """

    name: str
    machine: str
    value: float
    low: float
    high: float
    open: bool
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Trend:
    """A figure from run to run, the oldest first; `groups` are by machine."""

    kind: Literal["trend"] = "trend"
    title: str
    says: str
    up: str
    steps: tuple[TrendPoint, ...]
    groups: Mapping[str, Hue] = field(default_factory=dict)


Plot = Distribution | Course | Scatter | Bars | Trend


@dataclass(frozen=True, slots=True, kw_only=True)
class Illustration:
    """A picture, with what is seen on it as a table for who cannot see it.

    Attributes:
        says: what is seen on it, a line each.
        source: the picture itself, as `data:image/...;base64,...`.
        file: the file beside the page that it was made of.
        wide: it takes the whole width of a page.
    """

    kind: Literal["picture"] = "picture"
    title: str
    says: tuple[str, ...]
    source: str
    file: str
    size: tuple[int, int]
    wide: bool
    figures: Table


Block = Sentences | Command | Table | Illustration | Plot


@dataclass(frozen=True, slots=True, kw_only=True)
class Section:
    """A heading and what stands under it."""

    title: str
    blocks: tuple[Block, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """All about one bundle, one measurement or one comparison, the verdict first.

    Attributes:
        verdict: one sentence.
    """

    title: str
    about: str
    verdict: str
    status: Tone
    tiles: tuple[Tile, ...]
    sections: tuple[Section, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """A report.

    Attributes:
        overview: what the parts have in common or differ in; empty for a single one.
        made: when and with what.
    """

    title: str
    overview: tuple[Section, ...]
    parts: tuple[Part, ...]
    made: str
