"""What an option's value may be: each type reads it, or says what was expected."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ...profiles.machine.environment import MOST_THREADS
from ...profiles.machine.given import steady
from ...profiles.reading.values import MOST_WHOLE

if TYPE_CHECKING:
    from click.shell_completion import CompletionItem

    from ...backends.base import AxisRange

SEED = click.IntRange(0, MOST_WHOLE)
THREADS = click.IntRange(1, MOST_THREADS)


class Steady(click.Path):
    """A path that stays where it leads now: the model's code may go to another directory."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Path:
        """Made absolute; messages have it as it was given."""
        return steady(Path(os.fsdecode(super().convert(value, param, ctx))))


class TargetList(click.ParamType[list[str]]):
    """One or more target names, separated by commas."""

    name = "NAME"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> list[str]:
        """Split at commas."""
        names = [name.strip() for name in str(value).split(",") if name.strip()]
        if not names:
            self.fail(f"{value!r} names no target; `edgepress targets` lists them.", param, ctx)
        return names


class Decibel(click.ParamType[float]):
    """A finite number of dB."""

    name = "DB"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """Parse; nan would pass every comparison, and no engine reaches inf."""
        try:
            number = float(value)
        except ValueError:
            number = math.nan
        if not math.isfinite(number):
            self.fail(f"{value!r} is not a number of dB, as in 20.", param, ctx)
        return number


class Duration(click.ParamType[float]):
    """Seconds, written as 90s, 10m or 2h."""

    name = "TIME"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """Parse; a number alone would leave its unit to a guess."""
        if isinstance(value, float):
            return value
        number, unit = str(value)[:-1], {"s": 1.0, "m": 60.0, "h": 3600.0}.get(str(value)[-1:])
        try:
            seconds = float(number) * (unit or math.nan)
        except ValueError:
            seconds = math.nan
        if not 0 < seconds < math.inf:
            self.fail(f"{value!r} is not a time, as in 90s, 10m or 2h.", param, ctx)
        return seconds


class SizeList(click.ParamType[tuple[int, ...]]):
    """Positive whole numbers, separated by commas."""

    name = "N,..."

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[int, ...]:
        """Split at commas and parse."""
        if isinstance(value, tuple):
            return value
        words = [word.strip() for word in str(value).split(",")]
        if not all(word.isascii() and word.isdigit() and int(word) > 0 for word in words):
            self.fail(f"{value!r} is not a list of positive numbers, as in 1,8.", param, ctx)
        return tuple(dict.fromkeys(map(int, words)))


class ShortLimit(click.ParamType[dict[str, str]]):
    """A limit whose name the option itself says; a latency may name its percentile, as in p90=5ms."""

    def __init__(self, figure: str, example: str) -> None:
        self.figure, self.name = figure, example

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> dict[str, str]:
        """Name and text of the limit; an unknown unit is a fault of the input, with the known ones listed."""
        from ...profiles.budget.budget import short_limit

        return short_limit(self.figure, str(value))


class Registered(click.ParamType[str]):
    """A name that is registered somewhere; the names are asked for when the option is used or explained."""

    name = "choice"

    def __init__(self, names: Callable[[], Sequence[str]]) -> None:
        self._names = names

    @property
    def choices(self) -> tuple[str, ...]:
        """All names."""
        return tuple(self._names())

    def get_metavar(self, param: click.Parameter, ctx: click.Context) -> str | None:
        """The names, as `click.Choice` shows them."""
        return click.Choice(self.choices).get_metavar(param, ctx)

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """One of them, or a usage error that lists them."""
        return click.Choice(self.choices).convert(value, param, ctx)

    def shell_complete(self, ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
        """Those that begin so."""
        return click.Choice(self.choices).shell_complete(ctx, param, incomplete)


class BudgetOption(click.ParamType[tuple[str, str]]):
    """`NAME=LIMIT`, a name and a limit that `profiles.budget` knows."""

    name = "NAME=LIMIT"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[str, str]:
        """Parse; an unknown name or unit is a fault of the input, with the nearest one."""
        from ...profiles.budget.budget import parse_limit

        parse_limit(str(value))
        name, _, limit = str(value).partition("=")
        return name.strip(), limit.strip()


class AxisOption(click.ParamType[Any]):
    """`NAME=MIN:USUAL:MAX`."""

    name = "axis"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[str, AxisRange]:
        """Parse and check that 1 <= MIN <= USUAL <= MAX."""
        from ...backends.base import AxisRange
        from ...errors import InputError

        name, equals, sizes = str(value).partition("=")
        if not name or not equals:
            self.fail(f"{value!r} is not NAME=MIN:USUAL:MAX, as in batch=1:8:64.", param, ctx)
        try:
            return name, AxisRange.parse(sizes)
        except InputError as error:
            self.fail(f"{name}: {error.message}", param, ctx)
