"""A precision: what an engine computes in, how exact that is, and what it asks of an export.

The built-in ones are data, a TOML file each in `precisions/`. Another package adds one with an entry point of the group
`edgepress.precisions` that is a `Precision` of the entry point's own name. In files a precision is its name.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from typing import Annotated, ClassVar, Literal

from pydantic import AfterValidator, ConfigDict
from pydantic_core import PydanticCustomError

from ...errors import InputError
from ..registry import unknown_name
from .files import read, stems, validate
from .grid import Grid
from .precision_names import PRECISIONS

# Arms of a latency that are no precision: what ships, and the model as given, in torch.
SHIPPED, GIVEN = "engine", "torch"
# What stands beside precisions where one is asked for, or where latencies are told apart by name.
RESERVED = ("auto", SHIPPED, GIVEN)
_BITS = {"float32": 32, "float16": 16}


@dataclass(frozen=True, slots=True, kw_only=True)
class Precision:
    """What an engine computes in.

    Attributes:
        name: as users, files and folders call it.
        title: as a report calls it.
        rank: 0 is FP32, the measure of all others; a higher one is less exact and must be shown to be faster.
        integer: a target's scheme makes it, for kernels that multiply integers; otherwise it is a float.
        storage: type of the floats in the graph that is written.
        weights: grid of the weights in the engine; None where they are stored as the graph's floats.
        decoder: grid of a decoder's weights, whose kernels multiply floats; None where decoders are not made in it.
        scheme_grid: the target's scheme says the grid of the weights, and `weights` is what most schemes say.
        needs_data: it is made from calibration data, or from statistics of them.
        least_db: agreement with FP32 in dB of SQNR below which nothing is shipped, unless the user says otherwise.
        golden_db: that suffices on golden inputs; None where they are judged as all else is.
    """

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="forbid")

    name: str
    title: str
    rank: int
    integer: bool
    storage: Literal["float32", "float16"]
    weights: Grid | None = None
    decoder: Grid | None = None
    scheme_grid: bool = False
    needs_data: bool
    least_db: float
    golden_db: float | None = None

    def __post_init__(self) -> None:
        """Refuse what could not be told from something else, or not be made.

        Raises:
            ValueError: a name that is no folder's or that stands for something else, a rank below 0, or integers
                without a grid.
        """
        if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]*", self.name) or self.name in RESERVED:
            raise ValueError(f"the name {self.name!r} is not letters, digits, dots and dashes, or is taken")
        if self.rank < 0:
            raise ValueError(f"`rank` is {self.rank}; expected 0 or more")
        if self.integer and self.weights is None:
            raise ValueError("a precision of integers has a grid of `weights`")

    @property
    def exact(self) -> bool:
        """It is the measure of all others."""
        return self.rank == 0

    @property
    def weight_bits(self) -> int:
        """Of a weight in the engine, at least: scales and what stays float come on top."""
        return _BITS[self.storage] if self.weights is None else self.weights.bits


def precisions() -> tuple[Precision, ...]:
    """All that are known, the most exact first.

    Raises:
        InputError, UnservedError: what another package registers is no precision, or does not import.
    """
    return tuple(_by_name().values())


def load_precision(name: str) -> Precision:
    """The precision of a name.

    Raises:
        InputError: an unknown name; the near ones are listed.
    """
    if name not in _by_name():
        raise InputError(unknown_name("precision", name, _by_name()))
    return _by_name()[name]


def most_exact_first(names: Iterable[str]) -> list[str]:
    """Precisions by name in their order."""
    order = list(_by_name())
    return sorted(names, key=order.index)


@cache
def _by_name() -> dict[str, Precision]:
    """All that are known by name, the most exact first; equally exact ones by name."""
    built_in = [validate(Precision, read("precisions", name), f"precision {name}") for name in stems("precisions")]
    every = [*built_in, *map(_registered, PRECISIONS.names())]
    known = {precision.name: precision for precision in sorted(every, key=lambda p: (p.rank, p.name))}
    if len(known) < len(every):
        twice = [precision.name for precision in built_in if precision.name in PRECISIONS.names()]
        raise InputError(
            f"Another package registers the precision {', '.join(twice)}, which edgepress has itself.",
            hint="Uninstall that package.",
        )
    return known


def _registered(name: str) -> Precision:
    registered = PRECISIONS.load(name)
    if not isinstance(registered, Precision) or registered.name != name:
        raise InputError(f"What is registered as the precision {name!r} is {registered!r}, which is no such Precision.")
    if registered.exact:
        raise InputError(f"The precision {name!r} of another package has rank 0, and that is FP32's alone.")
    return registered


def _known(name: str) -> str:
    """The name of a file, in the words of a choice so that whoever reads the file can name the nearest."""
    if name not in _by_name():
        *others, last = (repr(known) for known in reversed(_by_name()))
        expected = f"{', '.join(others)} or {last}"
        raise PydanticCustomError("literal_error", "Input should be {expected}", {"expected": expected})
    return name


# A precision in a file; a name that nothing is known of is refused when the file is read.
PrecisionName = Annotated[str, AfterValidator(_known)]
