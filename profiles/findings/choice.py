"""Which precision is shipped, and on what grounds.

A lower precision must earn its place: it is shipped only where it keeps the accuracy and is shown to be faster than the
best of those that are more exact, as `timing.significance` has it, so that noise cannot decide.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ..device.precision import PrecisionName, most_exact_first
from ..timing.measurement import Measurement
from ..timing.ratio import Ratio, speedup
from ..timing.significance import claimed, undecided


@dataclass(frozen=True, slots=True, kw_only=True)
class Contender:
    """A precision that could be shipped.

    Attributes:
        accuracy: what was seen of its accuracy, or why it is out, one clause.
        kept: it keeps the accuracy that is asked for.
        size: bytes of its engine, None where none was built here.
        p50: median latency in milliseconds, None where it was not measured.
        against: the best of the more exact ones, which it was compared with.
        faster: how many times faster than that one it is.
    """

    precision: PrecisionName
    accuracy: str
    kept: bool
    size: int | None = None
    p50: float | None = None
    against: PrecisionName | None = None
    faster: Ratio | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """What is shipped and why.

    Attributes:
        forced: the user asked for this precision.
        measured: the contenders that keep the accuracy ran against each other on the target.
        because: the reason, a sentence.
        contenders: those that were looked at, the more exact first.
    """

    shipped: PrecisionName
    forced: bool
    measured: bool
    because: str
    contenders: tuple[Contender, ...]

    @property
    def summary(self) -> str:
        """What is shipped and how that was decided, a phrase."""
        how = "asked for" if self.forced else "measured" if self.measured else "not measured"
        return f"{self.shipped} ({how})"


@dataclass(frozen=True, slots=True, kw_only=True)
class Compared:
    """A precision against the best of the more exact ones."""

    against: PrecisionName
    ratio: Ratio


def fastest(
    found: Mapping[PrecisionName, Measurement], kept: Sequence[PrecisionName]
) -> tuple[PrecisionName, dict[PrecisionName, Compared]]:
    """The precision to ship, and what each was compared with.

    Args:
        found: measurements, taken in one run.
        kept: those that keep the accuracy, at least one; all of them were measured.
    """
    best, *others = most_exact_first(kept)
    compared: dict[PrecisionName, Compared] = {}
    for one in others:
        compared[one] = Compared(against=best, ratio=speedup(found[best], found[one]))
        if claimed(compared[one].ratio):
            best = one
    return best, compared


def smaller(size: int | None, than: int | None) -> str:
    """`3.9x smaller` where that is known and so, else empty."""
    return f"{than / size:.1f}x smaller" if size and than and than > 1.05 * size else ""


def said(one: Compared, precision: PrecisionName) -> str:
    """How the two compare, a clause."""
    if claimed(one.ratio):
        return f"{precision} is {one.ratio} as fast as {one.against}"
    word = "shows no difference" if undecided(one.ratio) or one.ratio.low > 1 else "is slower"
    return f"{precision} {word}: {one.ratio} as fast as {one.against}"
