"""Limits as people write them, `5ms`, `4MB`, `1%`: each knows how to read itself and what it allows of a figure."""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import ClassVar, Protocol

from ..errors import InputError

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
# The percentiles that a budget may bound; whether the samples carry one is known after they were taken.
PERCENTILES = (50, 90, 95, 99)
_QUANTITY = re.compile(r"(?P<number>[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?)\s*(?P<unit>\D*)")
_EXAMPLES = {
    "latency": "5ms or p90=5ms",
    "size": "4MB",
    "drop": "1% or 0.01",
    "share": "90% or 0.9",
    "factor": "1.5x",
    "rate": "100/s",
    "allowance": "5%",
}


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

    least: ClassVar[bool] = False
    ms: float
    percentile: int = 50

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
        ms = _positive("latency", value, MILLISECONDS)
        return cls(ms=float(ms), percentile=int(which.strip()[1:]) if found else 50)

    def __str__(self) -> str:
        """As `parse` reads it, exactly."""
        return f"{'' if self.percentile == 50 else f'p{self.percentile}='}{_plain(Decimal(repr(self.ms)))}ms"


@dataclass(frozen=True, slots=True, kw_only=True)
class SizeLimit:
    """Most bytes: of the engine on disk, or of memory."""

    least: ClassVar[bool] = False
    bytes: int

    def bound(self, before: float | None) -> float:
        """Bytes."""
        return self.bytes

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
class Least:
    """The least that a figure may be: a share or metric (`90%`, `0.9`), a factor (`1.5x`) or a rate (`100/s`)."""

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
        number, unit = _split(noun, text)
        if unit not in units:
            raise _unknown_unit(noun, text, unit, tuple(u or "none" for u in units))
        if number < 0:
            raise InputError(f"{_a(noun).capitalize()} of {text.strip()}: expected 0 or more.")
        return cls(amount=float(number * units[unit]), unit=unit)

    def __str__(self) -> str:
        """As it is read."""
        return f"{_plain(Decimal(repr(self.amount)).scaleb(2 if self.unit == '%' else 0))}{self.unit}"


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
        number, unit = _split("allowance", text)
        if unit != "%":
            raise _unknown_unit("allowance", text, unit, ("%",))
        if number < 0:
            raise InputError(f"An allowance of {text.strip()}: expected 0% or more.")
        return cls(share=float(number.scaleb(-2)))

    def __str__(self) -> str:
        """As `parse` reads it."""
        return f"{_plain(Decimal(repr(self.share)).scaleb(2))}%"


def _split(noun: str, text: str) -> tuple[Decimal, str]:
    match = _QUANTITY.fullmatch(text.strip())
    if match is None:
        raise InputError(f"{text!r} is not {_a(noun)}; expected something like {_EXAMPLES[noun]}.")
    return Decimal(match["number"]), match["unit"].strip()


def _positive(noun: str, text: str, units: Mapping[str, Decimal]) -> Decimal:
    number, unit = _split(noun, text)
    if unit not in units:
        raise _unknown_unit(noun, text, unit, tuple(units))
    if number <= 0:
        raise InputError(f"{_a(noun).capitalize()} of {text.strip()}: expected more than 0.")
    return number * units[unit]


def _unknown_unit(noun: str, text: str, unit: str, known: tuple[str, ...]) -> InputError:
    what = f"the unit {unit!r} is unknown" if unit else "it has no unit"
    folded = {name.lower(): name for name in reversed(known)}
    near = difflib.get_close_matches(unit.lower(), folded, 1, cutoff=0.4) if unit else []
    hint = f"Did you mean {folded[near[0]]}? " if near else ""
    return InputError(
        f"{_a(noun).capitalize()} of {text.strip()!r}: {what}; known: {', '.join(known)}.",
        hint=f"{hint}Write {_EXAMPLES[noun]}.",
    )


def _a(noun: str) -> str:
    return f"{'an' if noun[0] in 'aeiou' else 'a'} {noun}"


def _plain(number: Decimal) -> str:
    """Without exponent and without zeros at the end."""
    text = f"{number:f}"
    return text.rstrip("0").rstrip(".") if "." in text else text
