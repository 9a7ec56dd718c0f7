"""Budgets: what a bundle may cost, by the names of its figures."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from decimal import Decimal
from functools import partial
from typing import Any

from ...errors import InputError
from ..reading.near import near_names
from .limits import PERCENTILES, Allowance, Drop, LatencyLimit, Least, Limit, SizeLimit, TimeLimit
from .quantity import SHARE


def _at(percentile: int, text: str) -> LatencyLimit:
    found = LatencyLimit.parse(text)
    if "=" in text and found.percentile != percentile:
        raise InputError(f"A latency of {text!r}: the percentile stands in the budget's name.")
    return replace(found, percentile=percentile)


_TOKENS = partial(Least.parse, "speed", units={"tok/s": Decimal(1)})
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
    # Of a decoder: at the depth at which it is slowest, and behind the shortest prompt that was timed.
    "prefill": (_TOKENS, "200tok/s"),
    "decode": (_TOKENS, "20tok/s"),
    "first_token": (TimeLimit.parse, "500ms"),
    "perplexity_rise": (Drop.parse, "4%"),
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
        near = " or ".join(read[one] for one in near_names(_read(name), read, 1))
        known = f"Known: {', '.join(LIMITS)}."
        raise InputError(f"Unknown budget {name!r}.", hint=f"Did you mean {near}? {known}" if near else known)
    parse, example = LIMITS[name]
    if not isinstance(value, str):
        raise InputError(f"Budget {name}: {value!r} is no text.", hint=f"Write {name}={example}.")
    try:
        return parse(value)
    except InputError as error:
        told = error.hint.rpartition("Write ")[0] if error.hint else ""
        raise InputError(f"Budget {name}: {error.message}", hint=f"{told}Write {name}={example}.") from error


@dataclass(frozen=True, slots=True, kw_only=True)
class Budget:
    """What a bundle may cost: limits by name of LIMITS; what is not there is not bounded."""

    limits: Mapping[str, Limit] = field(default_factory=dict)

    @classmethod
    def parse(cls, texts: Mapping[str, str]) -> Budget:
        """The limits as people write them: `{"latency_p90": "5ms", "size": "4MB"}`.

        Raises:
            InputError: an unknown name or unit; the nearest one is named.
        """
        return cls(limits={name: limit(name, text) for name, text in texts.items()})

    @classmethod
    def of(cls, recipe: Mapping[str, Any]) -> Budget:
        """The budget in a recipe's data, as a file or a manifest has them."""
        return cls.parse(modern(recipe).get("budget", {}))

    @property
    def drop(self) -> Drop | None:
        """Most that the metric may lose, by which the choice of layers is led."""
        drop = self.limits.get("accuracy_drop")
        return drop if isinstance(drop, Drop) else None

    @property
    def perplexity_rise(self) -> Drop | None:
        """Most by which the perplexity of a decoder may rise, where it was asked for by that name."""
        rise = self.limits.get("perplexity_rise")
        return rise if isinstance(rise, Drop) else None

    @property
    def rise(self) -> Drop | None:
        """Most by which the perplexity of a decoder without a metric may rise; asked for as that, or as its drop."""
        return self.perplexity_rise or self.drop

    @property
    def size(self) -> SizeLimit | None:
        """Most bytes of the engine, by which a search is led."""
        size = self.limits.get("size")
        return size if isinstance(size, SizeLimit) else None

    @property
    def latencies(self) -> tuple[LatencyLimit, ...]:
        """Every limit of a latency."""
        return tuple(bound for bound in self.limits.values() if isinstance(bound, LatencyLimit))

    def texts(self) -> dict[str, str]:
        """The limits as `parse` reads them."""
        # The percentile stands in the name.
        return {name: str(bound).rpartition("=")[2] for name, bound in self.limits.items()}

    def under(self, stronger: Budget) -> Budget:
        """Both, where the other's limit is the one that holds for a figure that both bound."""
        return Budget(limits={**self.limits, **stronger.limits})

    def __bool__(self) -> bool:
        """Whether it bounds anything."""
        return bool(self.limits)


# Short names of some limits, and how each is read; a latency's text may name its percentile.
_SHORT: Mapping[str, tuple[Callable[[str], Limit], str]] = {
    "latency": (LatencyLimit.parse, "latency_p{}"),
    "size": (SizeLimit.parse, "size"),
    "accuracy_drop": (Drop.parse, "accuracy_drop"),
}
# Settings of recipes that were written before there was one table: what each bounds, and an example.
_BEFORE = {"max_latency": ("latency", "5ms"), "max_size": ("size", "4MB"), "max_drop": ("accuracy_drop", "1%")}


def short_limit(figure: str, text: str) -> dict[str, str]:
    """Name and text of a limit of a latency, the size or the accuracy drop: `p90=5ms` is that of `latency_p90`.

    Raises:
        InputError: no such limit.
    """
    parse, name = _SHORT[figure]
    bound = parse(text)
    return {name.format(getattr(bound, "percentile", "")): str(bound).rpartition("=")[2]}


def modern(recipe: Mapping[str, Any]) -> dict[str, Any]:
    """A recipe's data with one table `budget`, for what was `max_latency`, `max_size`, `max_drop` and `limits`.

    Raises:
        InputError: a value that is no limit, or two limits of one figure; the key is named.
    """
    rest = {key: value for key, value in recipe.items() if key not in (*_BEFORE, "limits")}
    budget = _by_name("budget", recipe.get("budget", {}))
    for key in recipe:
        for name, text in _limits_before(key, recipe[key]).items():
            if name in budget:
                raise InputError(f"`{key}` and `budget.{name}` bound the same figure.", hint="Give one of them.")
            budget = {**budget, name: text}
    return {**rest, "budget": budget} if budget else rest


def _limits_before(key: str, value: Any) -> dict[str, str]:
    """The limits in an older setting, by name; nothing for another setting."""
    if key == "limits":
        return _by_name(key, value)
    if key not in _BEFORE or value is None:
        return {}
    figure, example = _BEFORE[key]
    number = key == "max_drop" and isinstance(value, int | float) and not isinstance(value, bool)
    if not isinstance(value, str) and not number:
        raise InputError(f"`{key}`: {value!r} is no text such as {example!r}.")
    try:
        return short_limit(figure, str(value))
    except InputError as error:
        raise InputError(f"`{key}`: {error.message}", hint=error.hint) from error


def _by_name(key: str, value: Any) -> dict[str, str]:
    if not isinstance(value, Mapping):
        raise InputError(f'`{key}` is {value!r:.60}: expected a table of limits by name, as in size = "4MB".')
    return dict(value)


def _read(name: str) -> str:
    """As eyes read it: p9O is p90."""
    return name.lower().replace("o", "0").replace("-", "_")
