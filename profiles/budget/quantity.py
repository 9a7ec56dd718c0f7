"""Quantities as people write them, `5ms`, `4MB`, `1%`: a number and a unit, read exactly, or an error that helps."""

from __future__ import annotations

import re
from collections.abc import Mapping
from decimal import Decimal

from ...errors import InputError
from ..reading.near import near_names

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
SHARE = {"": Decimal(1), "%": Decimal("0.01")}
_QUANTITY = re.compile(r"(?P<number>[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?)\s*(?P<unit>\D*)")
_EXAMPLES = {
    "latency": "5ms or p90=5ms",
    "size": "4MB",
    "drop": "1% or 0.01",
    "share": "90% or 0.9",
    "factor": "1.5x",
    "rate": "100/s",
    "speed": "20tok/s",
    "time": "500ms",
    "allowance": "5%",
}


def quantity(noun: str, text: str, units: Mapping[str, Decimal], positive: bool = False) -> tuple[Decimal, str]:
    """The number in the base unit, and the unit that it was written in.

    Args:
        noun: what it is of, a key of the examples.
        units: how many of the base unit each is; an empty name is no unit.
        positive: 0 is refused too.

    Raises:
        InputError: no number, another unit (the nearest one is named), or too little.
    """
    match = _QUANTITY.fullmatch(text.strip())
    if match is None:
        raise InputError(f"{text!r} is not {a(noun)}; expected something like {_EXAMPLES[noun]}.")
    number, unit = Decimal(match["number"]), match["unit"].strip()
    if unit not in units:
        raise _unknown_unit(noun, text, unit, tuple(units))
    if number < 0 or (positive and not number):
        least = "more than 0" if positive else "0 or more"
        raise InputError(f"{a(noun).capitalize()} of {text.strip()}: expected {least}.")
    return number * units[unit], unit


def _unknown_unit(noun: str, text: str, unit: str, units: tuple[str, ...]) -> InputError:
    what = f"the unit {unit!r} is unknown" if unit else "it has no unit"
    known = [name or "none" for name in units]
    near = near_names(unit, known, 1)
    hint = f"Did you mean {near[0]}? " if near else ""
    return InputError(
        f"{a(noun).capitalize()} of {text.strip()!r}: {what}; known: {', '.join(known)}.",
        hint=f"{hint}Write {_EXAMPLES[noun]}.",
    )


def a(noun: str) -> str:
    """With its article."""
    return f"{'an' if noun[0] in 'aeiou' else 'a'} {noun}"


def plain(number: Decimal) -> str:
    """Without exponent and without zeros at the end."""
    text = f"{number:f}"
    return text.rstrip("0").rstrip(".") if "." in text else text
