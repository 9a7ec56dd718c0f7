"""From results to a decision: the Pareto front, the cheapest point within the budget, or the nearest ones."""

from __future__ import annotations

from collections.abc import Sequence

from ...profiles.budget.budget import Budget
from .result import Result

# Points whose interval reaches as near to the fastest as this are taken for as fast, and the smaller one is preferred.
SAME = 0.05


def front(results: Sequence[Result], *, timed: bool) -> list[Result]:
    """The results that no other one beats in everything, in the order given; of equals the first."""
    values = [result.values(timed=timed) for result in results]

    def beaten(index: int) -> bool:
        own = values[index]
        return any(
            all(a <= b for a, b in zip(other, own, strict=True)) and (other != own or at < index)
            for at, other in enumerate(values)
            if at != index
        )

    return [result for index, result in enumerate(results) if not beaten(index)]


def within(results: Sequence[Result], budget: Budget, before: float | None, *, timed: bool) -> list[Result]:
    """The results that keep every limit, the cheapest first.

    Cheapest is the fastest; among those as fast, by their interval and within SAME, the smallest; among those as small
    the one that loses least. Where nothing is timed, the smallest comes first. What is not known of a point breaks no
    limit.
    """
    left = [result for result in results if not any(result.excess(budget, before).values())]
    ordered: list[Result] = []
    while left:
        fastest = min((1 / r.faster.value for r in left if timed and r.faster is not None), default=0.0)
        equal = [r for r in left if not timed or (r.faster and 1 / r.faster.high <= (1 + SAME) * fastest)]
        best = min(equal, key=lambda r: (r.size or 0, r.loss or 0.0))
        ordered.append(best)
        left = [result for result in left if result is not best]
    return ordered


def nearest(results: Sequence[Result], budget: Budget, before: float | None, count: int = 3) -> list[Result]:
    """The results that miss the budget least: by the largest share that any limit is missed by.

    Those that were given up early, so that some limits are not known, come last.
    """

    def key(result: Result) -> tuple[bool, float, float]:
        excess = result.excess(budget, before).values()
        return bool(result.early), max(excess, default=0.0), sum(excess)

    return sorted(results, key=key)[:count]
