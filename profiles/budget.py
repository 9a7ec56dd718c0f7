"""Budgets: what a bundle may cost at most, as people write it, and the verdict on what it was measured to cost."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Literal

from ..errors import InputError

if TYPE_CHECKING:
    from .report import Report

Status = Literal["met", "missed", "unclear", "unmeasured"]

MILLISECONDS = {"ms": Decimal(1), "us": Decimal("1e-3"), "µs": Decimal("1e-3"), "s": Decimal(1000)}
BYTES = {
    "B": Decimal(1),
    "kB": Decimal(10**3),
    "KB": Decimal(10**3),
    "MB": Decimal(10**6),
    "GB": Decimal(10**9),
    "KiB": Decimal(2**10),
    "MiB": Decimal(2**20),
    "GiB": Decimal(2**30),
}
# The percentiles that a budget may bound; further ones need more samples than a quick measurement takes.
PERCENTILES = (50, 90)
_QUANTITY = re.compile(r"(?P<number>[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?)\s*(?P<unit>\D*)")
_EXAMPLES = {"latency": "5ms or p90=5ms", "size": "4MB", "drop": "1% or 0.01"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Drop:
    """How much of a metric may be lost: `0.01` is absolute, in the metric's own unit; `1%` is of the float model's."""

    amount: float
    relative: bool

    def allows(self, before: float, after: float) -> bool:
        """Whether a metric that fell from `before` to `after` is still within it (higher is better)."""
        # 1.0 - 0.99 is more than 0.01 in binary; what is beyond by rounding alone is within.
        return before - after <= self.allowed(before) + 1e-12 * abs(before)

    def allowed(self, before: float) -> float:
        """The loss that is allowed from this metric, in the metric's own unit."""
        return self.amount * (abs(before) if self.relative else 1.0)

    @classmethod
    def parse(cls, text: str) -> Drop:
        """`1%` or `0.01`.

        Raises:
            InputError: another unit, a negative number, or more than 100 %.
        """
        number, unit = _split("drop", text)
        if unit not in ("", "%"):
            raise _unknown_unit("drop", text, unit, ("%", "none (in the metric's own unit)"))
        amount = number.scaleb(-2) if unit else number
        if amount < 0 or (unit and amount > 1):
            raise InputError(f"A drop of {text.strip()}: expected 0 or more{', and at most 100%' if unit else ''}.")
        return cls(amount=float(amount), relative=bool(unit))

    def __str__(self) -> str:
        """As `parse` reads it, exactly."""
        number = Decimal(repr(self.amount))
        return f"{_plain(number.scaleb(2))}%" if self.relative else _plain(number)


@dataclass(frozen=True, slots=True, kw_only=True)
class LatencyLimit:
    """Most milliseconds that one inference may take, at a percentile of its latencies."""

    ms: float
    percentile: int = 50

    @classmethod
    def parse(cls, text: str) -> LatencyLimit:
        """`5ms` (of the median) or `p90=5ms`.

        Raises:
            InputError: another unit or percentile, or not more than 0.
        """
        which, found, value = text.strip().rpartition("=")
        known = [f"p{p}" for p in PERCENTILES]
        if found and which.strip() not in known:
            raise InputError(f"A latency of {text.strip()!r}: {which!r} is none of {', '.join(known)}.")
        ms = _positive("latency", value, MILLISECONDS)
        return cls(ms=float(ms), percentile=int(which.strip()[1:]) if found else 50)

    def __str__(self) -> str:
        """As `parse` reads it, exactly."""
        return f"{'' if self.percentile == 50 else f'p{self.percentile}='}{_plain(Decimal(repr(self.ms)))}ms"


@dataclass(frozen=True, slots=True, kw_only=True)
class SizeLimit:
    """Most bytes that the engine may have on disk."""

    bytes: int

    @classmethod
    def parse(cls, text: str) -> SizeLimit:
        """`4MB` (10^6 bytes each) or `4MiB` (2^20).

        Raises:
            InputError: another unit, or not at least one byte.
        """
        size = int(_positive("size", text, BYTES))
        if size < 1:
            raise InputError(f"A size of {text.strip()} is less than one byte.")
        return cls(bytes=size)

    def __str__(self) -> str:
        """As `parse` reads it, exactly."""
        unit = next((u for u in ("GB", "MB", "kB") if self.bytes >= BYTES[u]), "B")
        return f"{_plain(Decimal(self.bytes) / BYTES[unit])}{unit}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Budget:
    """What a bundle may cost; None bounds nothing."""

    latency: LatencyLimit | None = None
    size: SizeLimit | None = None
    drop: Drop | None = None

    @classmethod
    def of(cls, recipe: Mapping[str, Any]) -> Budget:
        """The budget in a recipe's data, as a file or a manifest has them."""
        latency, size, drop = (recipe.get(f"max_{what}") for what in ("latency", "size", "drop"))
        return cls(
            latency=None if latency is None else LatencyLimit.parse(latency),
            size=None if size is None else SizeLimit.parse(size),
            drop=None if drop is None else Drop.parse(drop),
        )

    def __bool__(self) -> bool:
        """Whether it bounds anything."""
        return any(limit is not None for limit in (self.latency, self.size, self.drop))


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """Whether one limit of a budget was kept.

    Attributes:
        what: `latency p50`, `size` or `drop`.
        limit: what was asked.
        found: what was measured, with its interval; or why nothing was.
        status: `missed` only where the whole interval is beyond the limit; `unclear` where the point is and the
            interval is not; `unmeasured` where this machine cannot tell.
    """

    what: str
    limit: str
    found: str
    status: Status

    @property
    def said(self) -> str:
        """What was found against what was asked, one clause."""
        return {
            "met": f"{self.found}, within {self.limit}",
            "missed": f"{self.found}, {self.limit} asked: missed",
            "unclear": f"{self.found}, {self.limit} asked: the interval does not exclude it",
            "unmeasured": f"{self.limit} asked, not checked: {self.found}",
        }[self.status]


def judge(budget: Budget, report: Report) -> tuple[Verdict, ...]:
    """One verdict for each limit of the budget."""
    return tuple(_verdicts(budget, report))


def _verdicts(budget: Budget, report: Report) -> Iterator[Verdict]:
    if budget.latency is not None:
        yield _latency(budget.latency, report)
    if budget.size is not None:
        size = report.sizes.engine
        status: Status = "unmeasured" if size is None else "met" if size <= budget.size.bytes else "missed"
        found = "the engine is not built here" if size is None else str(SizeLimit(bytes=size))
        yield Verdict(what="size", limit=str(budget.size), found=found, status=status)
    if budget.drop is not None:
        yield _drop(budget.drop, report)


def _latency(limit: LatencyLimit, report: Report) -> Verdict:
    what = f"latency p{limit.percentile}"
    if "engine" not in report.latency:
        why = report.missing.get("latency", "Latency was not measured.")
        return Verdict(what=what, limit=str(limit), found=why.rstrip("."), status="unmeasured")
    interval = report.latency["engine"].intervals.get(limit.percentile)
    if interval is None:
        return Verdict(what=what, limit=str(limit), found="too few samples", status="unmeasured")
    status: Status = "met" if interval.value <= limit.ms else "unclear" if interval.low <= limit.ms else "missed"
    return Verdict(what=what, limit=str(limit), found=f"{interval} ms", status=status)


def _drop(limit: Drop, report: Report) -> Verdict:
    if report.task is None:
        why = report.missing.get("task", "there is no task metric")
        return Verdict(what="drop", limit=str(limit), found=why.rstrip("."), status="unmeasured")
    before, after = report.task.before, report.task.after
    found = f"{before - after:.4g} ({before:.4f} to {after:.4f})"
    return Verdict(
        what="drop", limit=str(limit), found=found, status="met" if limit.allows(before, after) else "missed"
    )


def _split(noun: str, text: str) -> tuple[Decimal, str]:
    match = _QUANTITY.fullmatch(text.strip())
    if match is None:
        raise InputError(f"{text!r} is not a {noun}; expected something like {_EXAMPLES[noun]}.")
    return Decimal(match["number"]), match["unit"].strip()


def _positive(noun: str, text: str, units: Mapping[str, Decimal]) -> Decimal:
    number, unit = _split(noun, text)
    if unit not in units:
        raise _unknown_unit(noun, text, unit, tuple(units))
    if number <= 0:
        raise InputError(f"A {noun} of {text.strip()}: expected more than 0.")
    return number * units[unit]


def _unknown_unit(noun: str, text: str, unit: str, known: tuple[str, ...]) -> InputError:
    what = f"the unit {unit!r} is unknown" if unit else "it has no unit"
    return InputError(
        f"A {noun} of {text.strip()!r}: {what}; known: {', '.join(known)}.", hint=f"Write {_EXAMPLES[noun]}."
    )


def _plain(number: Decimal) -> str:
    """Without exponent and without zeros at the end."""
    text = f"{number:f}"
    return text.rstrip("0").rstrip(".") if "." in text else text
