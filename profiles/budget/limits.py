"""Limits as people write them, `5ms`, `4MB`, `1%`: each knows how to read itself and what it allows of a figure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import ClassVar, Protocol

from ...errors import InputError
from .quantity import BYTES, MILLISECONDS, SHARE, plain, quantity

# The percentiles that a budget may bound; whether the samples carry one is known after they were taken.
PERCENTILES = (50, 90, 95, 99)
# Digits behind the point that tell any two sizes apart, in the largest unit as well.
_MOST_DIGITS = 12


class Limit(Protocol):
    """What a figure may be at most, or at least."""

    @property
    def least(self) -> bool:
        """It bounds the figure from below."""
        ...

    def bound(self, before: float | None) -> float:
        """The limit in the figure's own unit; `before` is what a loss is counted from."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Drop:
    """How much of a metric may be lost: `0.01` is absolute, in the metric's own unit; `1%` is of the float model's."""

    least: ClassVar[bool] = False
    amount: float
    relative: bool

    def allows(self, before: float, after: float) -> bool:
        """Whether a metric that fell from `before` to `after` is still within it (higher is better)."""
        # 1.0 - 0.99 is more than 0.01 in binary; what is beyond by rounding alone is within.
        return before - after <= self.allowed(before) + 1e-12 * abs(before)

    def allowed(self, before: float) -> float:
        """The loss that is allowed from this metric, in the metric's own unit."""
        return self.amount * (abs(before) if self.relative else 1.0)

    def bound(self, before: float | None) -> float:
        """The loss that is allowed; that of rounding alone is not counted."""
        assert before is not None
        return self.allowed(before) + 1e-12 * abs(before)

    @classmethod
    def parse(cls, text: str) -> Drop:
        """`1%` or `0.01`.

        Raises:
            InputError: another unit, a negative number, or more than 100 %.
        """
        amount, unit = quantity("drop", text, SHARE)
        if unit and amount > 1:
            raise InputError(f"A drop of {text.strip()}: expected at most 100%.")
        return cls(amount=float(amount), relative=bool(unit))

    def __str__(self) -> str:
        """As `parse` reads it, exactly."""
        number = Decimal(repr(self.amount))
        return f"{plain(number.scaleb(2))}%" if self.relative else plain(number)


@dataclass(frozen=True, slots=True, kw_only=True)
class LatencyLimit:
    """Most milliseconds that one inference may take, at a percentile of its latencies; `unit` is as it was written."""

    least: ClassVar[bool] = False
    ms: float
    percentile: int = 50
    unit: str = field(default="ms", compare=False)

    def bound(self, before: float | None) -> float:
        """Milliseconds."""
        return self.ms

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
        ms, unit = quantity("latency", value, MILLISECONDS, positive=True)
        return cls(ms=float(ms), percentile=int(which.strip()[1:]) if found else 50, unit=unit)

    def __str__(self) -> str:
        """As `parse` reads it, exactly."""
        return f"{'' if self.percentile == 50 else f'p{self.percentile}='}{_time(self.ms, self.unit)}"


@dataclass(frozen=True, slots=True, kw_only=True)
class TimeLimit:
    """Most milliseconds that something may take, in the median; `unit` is how people wrote it."""

    least: ClassVar[bool] = False
    ms: float
    unit: str = field(default="ms", compare=False)

    def bound(self, before: float | None) -> float:
        """Milliseconds."""
        return self.ms

    @classmethod
    def parse(cls, text: str) -> TimeLimit:
        """`500ms` or `2s`.

        Raises:
            InputError: another unit, or not more than 0.
        """
        ms, unit = quantity("time", text, MILLISECONDS, positive=True)
        return cls(ms=float(ms), unit=unit)

    def __str__(self) -> str:
        """As `parse` reads it, exactly."""
        return _time(self.ms, self.unit)


@dataclass(frozen=True, slots=True, kw_only=True)
class SizeLimit:
    """Most bytes: of the engine on disk, or of memory; `unit` is how people wrote it, empty for what fits."""

    least: ClassVar[bool] = False
    bytes: int
    unit: str = field(default="", compare=False)

    def bound(self, before: float | None) -> float:
        """Bytes."""
        return self.bytes

    @classmethod
    def parse(cls, text: str) -> SizeLimit:
        """`4MB` (10^6 bytes each) or `4MiB` (2^20).

        Raises:
            InputError: another unit, or not at least one byte.
        """
        size, unit = quantity("size", text, BYTES, positive=True)
        if size < 1:
            raise InputError(f"A size of {text.strip()} is less than one byte.")
        return cls(bytes=int(size), unit=unit)

    def __str__(self) -> str:
        """As `parse` reads it, exactly."""
        fitting = next((u for u in ("GB", "MB", "kB") if self.bytes >= BYTES[u]), "B")
        exact = ((Decimal(self.bytes) / BYTES[unit], unit) for unit in (self.unit or fitting, fitting))
        # Bytes are whole, so that few digits say the same: 7.3GiB, not 7.2999999998137.
        texts = (f"{plain(round(amount, digits))}{unit}" for amount, unit in exact for digits in range(_MOST_DIGITS))
        return next((text for text in texts if _bytes(text) == self.bytes), f"{self.bytes}B")


@dataclass(frozen=True, slots=True, kw_only=True)
class Least:
    """The least that a figure may be: a share or metric (`90%`, `0.9`), a factor (`1.5x`) or a rate (`20tok/s`)."""

    least: ClassVar[bool] = True
    amount: float
    unit: str = ""

    def bound(self, before: float | None) -> float:
        """The amount; what is below it by rounding alone is within."""
        return self.amount - 1e-12 * abs(self.amount)

    @classmethod
    def parse(cls, noun: str, text: str, units: Mapping[str, Decimal]) -> Least:
        """A number in one of the units.

        Raises:
            InputError: another unit, or less than 0.
        """
        amount, unit = quantity(noun, text, units)
        return cls(amount=float(amount), unit=unit)

    def __str__(self) -> str:
        """As it is read."""
        return f"{plain(Decimal(repr(self.amount)).scaleb(2 if self.unit == '%' else 0))}{self.unit}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Allowance:
    """By what share a figure may be worse than the baseline's."""

    least: ClassVar[bool] = False
    share: float

    def bound(self, before: float | None) -> float:
        """The share; what is beyond by rounding alone is within."""
        return self.share + 1e-12

    @classmethod
    def parse(cls, text: str) -> Allowance:
        """`5%`.

        Raises:
            InputError: without the unit, which would leave it to a guess, or less than 0.
        """
        share, _ = quantity("allowance", text, {"%": SHARE["%"]})
        return cls(share=float(share))

    def __str__(self) -> str:
        """As `parse` reads it."""
        return f"{plain(Decimal(repr(self.share)).scaleb(2))}%"


def _bytes(text: str) -> int:
    """What is read from an amount with its unit, which may be 0."""
    return int(quantity("size", text, BYTES)[0])


def _time(ms: float, unit: str) -> str:
    return f"{plain(Decimal(repr(ms)) / MILLISECONDS[unit])}{unit}"
