"""Latency of candidates, interleaved in one run; with a second, longer look where the first leaves open who is faster.

Nothing here needs torch or onnx.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping

from ...profiles.findings.gap import Gap
from ...profiles.timing.in_turn import Timed, time_in_turn
from ...profiles.timing.measure import Arm, Call
from ...profiles.timing.measurement import Measurement, speedup
from ...profiles.timing.significance import undecided

NotingTick = Callable[[float, str], None]


def quiet(share: float, note: str) -> None:
    """Show nobody."""


def measure_in_turn(
    arms: Mapping[str, Arm],
    undecided_pairs: Collection[tuple[str, str]] = (),
    tick: NotingTick = quiet,
    beside: Mapping[str, Call] | None = None,
) -> Timed:
    """Latencies by arm.

    Args:
        arms: at least one.
        undecided_pairs: whose comparison is worth a longer look where a first one does not decide it.
        beside: arms that are looked at once, and of which nothing is to be decided.
    """
    timed = time_in_turn({**arms, **(beside or {})}, lambda share: tick(share, ""))
    if any(_is_open(timed.latency, pair) for pair in undecided_pairs):
        # So that a machine that is busy does not decide what is shipped.
        timed = timed.and_then(time_in_turn(arms, lambda share: tick(share, "once more")))
    return timed


def _is_open(latency: Mapping[str, Measurement], pair: tuple[str, str]) -> bool:
    """Whether it is still open if one of the two is faster."""
    first, second = (latency[arm] for arm in pair)
    return undecided(speedup(first, second))


def disturbed(timed: Timed) -> tuple[Gap, ...]:
    """Why latencies are not the machine's own, as what is missing of them."""
    return tuple(
        Gap(about="disturbed", why=f"The latencies are not the machine's own: {reason}.", subject=reason)
        for reason in timed.disturbed
    )
