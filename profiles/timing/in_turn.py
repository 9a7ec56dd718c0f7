"""Latencies taken in turn, with what the machine did meanwhile."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

from ..machine.conditions import Conditions, disturbances, read_conditions
from ..machine.waiting import Waiting
from .measure import Arm, Call, measure
from .measurement import Measurement


@dataclass(frozen=True, slots=True, kw_only=True)
class Timed:
    """Measurements by arm, and the machine before the first sample and after the last one."""

    latency: Mapping[str, Measurement]
    before: Conditions
    after: Conditions

    @property
    def disturbed(self) -> tuple[str, ...]:
        """Why the figures are not the machine's own."""
        return disturbances(self.before, self.after)

    def and_then(self, later: Timed) -> Timed:
        """Both looks together; an arm that was looked at once stays as it is."""
        both = {arm: self.latency[arm].and_then(more) for arm, more in later.latency.items()}
        return _judged(Timed(latency={**self.latency, **both}, before=self.before, after=later.after))


def time_in_turn(arms: Mapping[str, Call | Arm], tick: Callable[[float], None] = lambda share: None) -> Timed:
    """Measure the arms; none of them is steady where others wanted the cores, or where the machine throttled.

    Args:
        arms: at least one.
        tick: told the finished share.
    """
    before: list[Conditions] = []
    with Waiting() as waiting:
        found = measure(arms, tick=tick, warmed=lambda: before.append(read_conditions()))
    waited = {arm: one.having_waited(waiting.share) for arm, one in found.items()}
    return _judged(Timed(latency=waited, before=before[0], after=read_conditions()))


def _judged(timed: Timed) -> Timed:
    if not timed.disturbed:
        return timed
    return replace(timed, latency={arm: replace(one, stable=False) for arm, one in timed.latency.items()})
