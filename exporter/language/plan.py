"""Which matrix gets how many bits: the least size that loses no more than a limit, or the least loss within a size.

Each matrix has options of so many bytes and so much loss; losses add up, as those of small errors do. Only options on
the lower convex hull of a matrix are taken, cheapest gain first, which is the best there is but for the last step.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from ...profiles.device.grid import Grid


@dataclass(frozen=True, slots=True, kw_only=True)
class GridOption:
    """A grid for a matrix, or None to leave it in floats.

    Attributes:
        bytes: that it takes on disk.
        loss: what is expected to be lost, in nats a token.
    """

    grid: Grid | None
    bytes: int
    loss: float


@dataclass(frozen=True, slots=True, kw_only=True)
class GridPlan:
    """An option for each matrix, by name of the linear layer; `bytes` and `loss` are those of all."""

    chosen: Mapping[str, GridOption]

    @property
    def grids(self) -> Mapping[str, Grid | None]:
        """The grid of each matrix."""
        return {name: option.grid for name, option in self.chosen.items()}

    @property
    def bytes(self) -> int:
        """What all matrices take."""
        return sum(option.bytes for option in self.chosen.values())

    @property
    def loss(self) -> float:
        """What all of them are expected to lose, in nats a token."""
        return sum(option.loss for option in self.chosen.values())


def plans(options: Mapping[str, Sequence[GridOption]]) -> Iterator[GridPlan]:
    """From the smallest plan to the one of least loss, each step the one that gains most a byte."""
    hulls = {name: hull(each) for name, each in options.items()}
    at = dict.fromkeys(hulls, 0)
    yield _plan(hulls, at)
    steps = [step for name in hulls for step in _step(hulls, name, 0)]
    heapq.heapify(steps)
    while steps:
        _, name = heapq.heappop(steps)
        at[name] += 1
        yield _plan(hulls, at)
        for step in _step(hulls, name, at[name]):
            heapq.heappush(steps, step)


def within_bytes(options: Mapping[str, Sequence[GridOption]], limit: int) -> GridPlan | None:
    """The least loss within so many bytes; None where even the smallest options take more.

    A step that does not fit is passed over, and later ones that fit are taken still.
    """
    hulls = {name: hull(each) for name, each in options.items()}
    at = dict.fromkeys(hulls, 0)
    left = limit - _plan(hulls, at).bytes
    if left < 0:
        return None
    steps = [step for name in hulls for step in _step(hulls, name, 0)]
    heapq.heapify(steps)
    while steps:
        _, name = heapq.heappop(steps)
        more = hulls[name][at[name] + 1].bytes - hulls[name][at[name]].bytes
        if more > left:
            continue
        left -= more
        at[name] += 1
        for step in _step(hulls, name, at[name]):
            heapq.heappush(steps, step)
    return _plan(hulls, at)


def within_loss(options: Mapping[str, Sequence[GridOption]], limit: float) -> GridPlan | None:
    """The least size that is expected to lose no more than `limit` nats a token; None where there is none."""
    return next((plan for plan in plans(options) if plan.loss <= limit), None)


def least_loss(options: Mapping[str, Sequence[GridOption]]) -> GridPlan:
    """What is expected to lose least of all."""
    return GridPlan(chosen={name: hull(each)[-1] for name, each in options.items()})


def hull(options: Iterable[GridOption]) -> list[GridOption]:
    """The options of the lower convex hull, smallest first; what is larger and loses more is none of them."""
    found: list[GridOption] = []
    for option in sorted(options, key=lambda each: (each.bytes, each.loss)):
        if found and option.loss >= found[-1].loss:
            continue
        while len(found) > 1 and _gain(found[-1], option) >= _gain(found[-2], found[-1]):
            found.pop()
        found.append(option)
    return found


def _gain(smaller: GridOption, larger: GridOption) -> float:
    """Loss saved a byte more."""
    return (smaller.loss - larger.loss) / max(1, larger.bytes - smaller.bytes)


def _step(hulls: Mapping[str, list[GridOption]], name: str, at: int) -> Iterator[tuple[float, str]]:
    """The next step of a matrix, if there is one, the most gain a byte first in order."""
    if at + 1 < len(hulls[name]):
        yield -_gain(hulls[name][at], hulls[name][at + 1]), name


def _plan(hulls: Mapping[str, list[GridOption]], at: Mapping[str, int]) -> GridPlan:
    return GridPlan(chosen={name: each[at[name]] for name, each in hulls.items()})
