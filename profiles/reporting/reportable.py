"""What a report is made of: a bundle with its samples, and what a search tried."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from ..findings.comparison import Comparison
from ..findings.history import History
from ..findings.profile import Profile
from ..findings.report import Report
from ..timing.measurement import Interval, Measurement


@dataclass(frozen=True, slots=True, kw_only=True)
class Tried:
    """One point of a search; None where a figure was not measured.

    Attributes:
        latency: milliseconds.
        size: bytes of the engine.
        quality: as the search's `quality` says.
        front: nothing that was tried is better in every respect.
        early: why it was given up before it was measured to the end.
    """

    name: str
    latency: Interval | None
    size: int | None
    quality: float | None
    front: bool = False
    chosen: bool = False
    early: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Search:
    """What was tried, and what was asked for.

    Attributes:
        quality: what the quality of a point is, in words.
        how: how the latencies were got, a sentence; empty where there are none.
        most_ms, most_bytes: limits of the budget; None where nothing was asked.
    """

    tried: tuple[Tried, ...]
    quality: str
    how: str = ""
    most_ms: float | None = None
    most_bytes: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class BundleFindings:
    """A bundle.

    Attributes:
        name: of its directory.
        samples: raw latencies by arm, as far as the bundle keeps them.
        search: of the study that the bundle came from.
    """

    name: str
    report: Report
    samples: Mapping[str, Measurement] = field(default_factory=dict)
    search: Search | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Trends:
    """A history; `name` is the file's."""

    name: str
    history: History


Reportable = BundleFindings | Profile | Comparison | Trends
