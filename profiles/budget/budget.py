"""Budgets: what a bundle may cost, by the names of its figures."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from decimal import Decimal
from functools import partial
from typing import Any

from ...errors import InputError
from .limits import PERCENTILES, Allowance, Drop, LatencyLimit, Least, Limit, SizeLimit
from .quantity import SHARE


def _at(percentile: int, text: str) -> LatencyLimit:
    found = LatencyLimit.parse(text)
    if "=" in text and found.percentile != percentile:
        raise InputError(f"A latency of {text!r}: the percentile stands in the budget's name.")
    return replace(found, percentile=percentile)


# By name: how its limit is read, and an example.
LIMITS: Mapping[str, tuple[Callable[[str], Limit], str]] = {
    **{f"latency_p{p}": (partial(_at, p), "5ms") for p in PERCENTILES},
    "size": (SizeLimit.parse, "4MB"),
    "accuracy_drop": (Drop.parse, "1%"),
    "accuracy": (partial(Least.parse, "share", units=SHARE), "0.9"),
    "coverage": (partial(Least.parse, "share", units=SHARE), "90%"),
    "speedup": (partial(Least.parse, "factor", units={"x": Decimal(1), "": Decimal(1)}), "1.5x"),
    "memory": (SizeLimit.parse, "200MB"),
    "throughput": (partial(Least.parse, "rate", units={"/s": Decimal(1)}), "100/s"),
    # Against a baseline: by what share a figure may be worse.
    "latency_regression": (Allowance.parse, "5%"),
    "size_regression": (Allowance.parse, "1%"),
    "accuracy_regression": (Allowance.parse, "1%"),
}
REGRESSION = "_regression"


def parse_limit(text: str) -> tuple[str, Limit]:
    """`latency_p90=5ms` as a name of LIMITS and its limit.

    Raises:
        InputError: an unknown name or unit; the nearest one is named.
    """
    name, equals, value = (part.strip() for part in text.partition("="))
    if not equals:
        raise InputError(f"{text!r} is no budget; expected NAME=LIMIT.", hint="Write latency_p90=5ms or size=4MB.")
    return name, limit(name, value)


def limit(name: str, value: str) -> Limit:
    """The limit of that name.

    Raises:
        InputError: as `parse_limit`.
    """
    if name not in LIMITS:
        read = {_read(one): one for one in LIMITS}
        near = difflib.get_close_matches(_read(name), read, 1)
        known = f"Known: {', '.join(LIMITS)}."
        raise InputError(f"Unknown budget {name!r}.", hint=f"Did you mean {read[near[0]]}? {known}" if near else known)
    parse, example = LIMITS[name]
    try:
        return parse(value)
    except InputError as error:
        told = error.hint.rpartition("Write ")[0] if error.hint else ""
        raise InputError(f"Budget {name}: {error.message}", hint=f"{told}Write {name}={example}.") from error


@dataclass(frozen=True, slots=True, kw_only=True)
class Budget:
    """What a bundle may cost; None bounds nothing.

    Attributes:
        latency, size, drop: the limits that a search and the choice of layers are led by.
        more: further limits, by name of LIMITS.
    """

    latency: LatencyLimit | None = None
    size: SizeLimit | None = None
    drop: Drop | None = None
    more: Mapping[str, Limit] = field(default_factory=dict)

    @classmethod
    def of(cls, recipe: Mapping[str, Any]) -> Budget:
        """The budget in a recipe's data, as a file or a manifest has them."""
        latency, size, drop = (recipe.get(f"max_{what}") for what in ("latency", "size", "drop"))
        return cls(
            latency=None if latency is None else LatencyLimit.parse(latency),
            size=None if size is None else SizeLimit.parse(size),
            drop=None if drop is None else Drop.parse(drop),
            more={name: limit(name, value) for name, value in recipe.get("limits", {}).items()},
        )

    def limits(self) -> dict[str, Limit]:
        """Every limit by its name.

        Raises:
            InputError: two limits of one figure.
        """
        own: dict[str, Limit | None] = {"size": self.size, "accuracy_drop": self.drop}
        if self.latency is not None:
            own = {f"latency_p{self.latency.percentile}": self.latency, **own}
        given = {name: one for name, one in own.items() if one is not None}
        if twice := [name for name in given if name in self.more]:
            raise InputError(f"Two limits of {twice[0]} were given: {given[twice[0]]} and {self.more[twice[0]]}.")
        return {**given, **self.more}

    def latencies(self) -> tuple[LatencyLimit, ...]:
        """Every limit of a latency."""
        return tuple(one for one in self.limits().values() if isinstance(one, LatencyLimit))

    def __bool__(self) -> bool:
        """Whether it bounds anything."""
        return bool(self.limits())


def _read(name: str) -> str:
    """As eyes read it: p9O is p90."""
    return name.lower().replace("o", "0").replace("-", "_")
