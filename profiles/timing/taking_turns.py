"""Engines that take turns of a few inferences, each in a process of its own, again and again in fresh ones.

Two turns that touch in time meet the same machine, and what a process fixes when it openers, its memory layout above
all, differs from set to set and so is part of the spread.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass

from ..machine.conditions import Conditions, read_conditions
from ..machine.waiting import Waiting, tasks_of
from .measure import Arm, Settings
from .turns import LEAST_PAIRS, Turn, Turns, half_width, standard_error

# A turn is long enough that waking up does not count, and short enough that the next one meets the same machine.
_TURN_SECONDS = 0.004
_BLOCK = 8  # turns between two looks at the clock
# A set of processes lasts until its own ratios are known to this standard error.
_SET_ERROR, _LEAST_SET, _LONGEST_SET = 0.006, 1.0, 4.0  # and seconds
_SHORTEST_SET = 0.5  # seconds, where there is no time for more
# Of three inferences the median is rarely one that had to wait for the core. A wait is as long for one arm as for the
# other, and so would hide a part of what they differ by. Inferences that are slow in themselves stand alone: all wait.
_SHORTEST_TURN, _LONGEST_TURN = 3, 32
_SLOW = 0.02  # seconds; cold caches do not show any more either
_WARM = Settings(warmup_seconds=0.3, warmup_count=10, cap=1.0)
_PROBE = Settings(slice_seconds=0.05)
_PATIENCE = 3.0  # times the seconds after which the number of samples is not waited for

Opener = Callable[[], AbstractContextManager[Arm]]
Now = Callable[[], float]


@dataclass(frozen=True, slots=True, kw_only=True)
class Lookout:
    """What reads the machine that the arms run on, by default this one.

    Attributes:
        conditions: how it is doing now.
        waiting: how long a process of it, by number, waits for a core.
    """

    conditions: Callable[[], Conditions] = lambda: read_conditions()
    waiting: Callable[[int], Waiting] = lambda pid: Waiting(tasks=tasks_of(pid))


HERE = Lookout()


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """How long the turns may go on.

    Attributes:
        seconds: of wall time for all of it; LEAST_PAIRS sets of processes run in any case.
        precision: half of the interval's width, as a share, at which it ends early.
        samples: of each arm, before it ends; a slow engine ends after three times the seconds with fewer.
    """

    seconds: float
    precision: float = 0.01
    samples: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class TurnsOfSet:
    """What one set of fresh processes gave.

    Attributes:
        turns: of each arm; the turns of one index touch in time.
        waited: nanoseconds of each arm that its threads waited for a core, of those that they ran or waited.
        before: the machine, warmed up; and `after`, before the processes ended.
    """

    turns: tuple[tuple[Turn, ...], ...]
    waited: tuple[tuple[int, int], ...]
    before: Conditions
    after: Conditions

    def samples(self, arm: int) -> int:
        """Inferences of an arm."""
        return sum(map(len, self.turns[arm]))


def take_turns(
    openers: Sequence[Opener],
    limits: Limits,
    tick: Callable[[float], None] = lambda share: None,
    clock: Now = time.monotonic,
    watch: Lookout = HERE,
) -> Iterator[TurnsOfSet]:
    """Sets of fresh processes, an arm each, until the ratios to the first arm are known or the time is over.

    Args:
        openers: each begins a process that is not yet waited for.
        tick: told the finished share.
        clock: seconds that only go forward.
        watch: reads the machine of the arms.
    """
    begun, longest, taken = clock(), 0.0, list[TurnsOfSet]()
    while True:
        started = clock()
        seconds, backwards = limits.seconds / LEAST_PAIRS, len(taken) % 2 == 1
        taken.append(_set(openers, seconds, backwards=backwards, clock=clock, watch=watch))
        yield taken[-1]
        ended = clock()
        longest = max(longest, ended - started)
        tick(min(1.0, max((ended - begun) / limits.seconds, 0.0)))
        if len(taken) < LEAST_PAIRS:
            continue
        enough = all(sum(one.samples(arm) for one in taken) >= limits.samples for arm in range(len(openers)))
        over = ended - begun + longest > limits.seconds * (1.0 if enough else _PATIENCE)
        if over or (enough and _precise(taken, limits.precision)):
            return


def _precise(taken: Sequence[TurnsOfSet], precision: float) -> bool:
    """Whether each arm's ratio to the first one is known as well as is wanted."""
    first, *others = zip(*(one.turns for one in taken), strict=True)
    return all(
        half_width([Turns(a=a, b=b) for a, b in zip(first, other, strict=True)]) <= precision for other in others
    )


def _set(openers: Sequence[Opener], seconds: float, *, backwards: bool, clock: Now, watch: Lookout) -> TurnsOfSet:
    """One process an arm, started at the same time, for `seconds` if they can; `backwards`: the last goes first."""
    begun = clock()
    with ExitStack() as stack:
        arms = [stack.enter_context(opener()) for opener in (openers[::-1] if backwards else openers)]
        for arm in arms:
            arm.ready()
        for arm in arms:
            arm.warm(_WARM)
        before = watch.conditions()
        undisturbed = max(min(arm.slice(_PROBE)) for arm in arms) / 1e9
        left = seconds - (clock() - begun)
        with ExitStack() as watched:
            waits = [watched.enter_context(watch.waiting(arm.pid)) for arm in arms]
            turns = _turns(arms, undisturbed, min(max(left, _SHORTEST_SET), _LONGEST_SET), clock)
        after = watch.conditions()
    order = slice(None, None, -1 if backwards else 1)
    waited = tuple((wait.waited, wait.ran + wait.waited) for wait in waits[order])
    return TurnsOfSet(turns=tuple(turns[order]), waited=waited, before=before, after=after)


def _turns(arms: Sequence[Arm], seconds: float, longest: float, clock: Now) -> list[tuple[Turn, ...]]:
    """Turns of all arms in ABBA order, until the ratios are known or `longest` seconds are over.

    Args:
        seconds: what one inference takes where nothing disturbs it.
    """
    settle, count = 1, min(max(round(_TURN_SECONDS / seconds), _SHORTEST_TURN), _LONGEST_TURN)
    if seconds > _SLOW:
        settle, count = 0, 1
    taken: list[list[Turn]] = [[] for _ in arms]
    begun = clock()
    while (spent := clock() - begun) < longest or len(taken[0]) < _BLOCK:
        if spent > _LEAST_SET and len(taken[0]) >= _BLOCK and _known(taken):
            break
        for turn in range(_BLOCK):
            for index in range(len(arms))[:: 1 if turn % 2 == 0 else -1]:
                taken[index].append(tuple(arms[index].turn(settle, count)))
    return [tuple(turns) for turns in taken]


def _known(taken: Sequence[Sequence[Turn]]) -> bool:
    """Whether the ratio of each arm to the first one is."""
    return all(standard_error(taken[0], other) <= _SET_ERROR for other in taken[1:])
