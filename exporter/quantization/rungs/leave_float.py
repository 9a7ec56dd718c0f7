"""The fewest layers in float."""

from __future__ import annotations

from ..mixed_int8 import IntegerVersion
from ..relax import Evaluation, relax
from .rung import Attempt, Climbed, Cost, Rung


def why_not(attempt: Attempt) -> str:
    """Nothing is missing where there is more than one layer."""
    return "" if len(attempt.mixed.quantizer(attempt.base).placement.layers) > 1 else "there is but one layer"


def climb(attempt: Attempt) -> Climbed:
    """Leave out layers from the head of the ranking, of weights as the rungs below have made them."""
    mixed, base = attempt.mixed, attempt.base
    found: dict[tuple[str, ...], Evaluation] = {(): attempt.found}

    def evaluate(left: tuple[str, ...]) -> Evaluation:
        if left not in found:
            found[left] = mixed.evaluate(IntegerVersion(left=left, fitted=base.fitted))
        return found[left]

    sensitivity = relax(mixed.noise(base), attempt.required, evaluate)
    left = sensitivity.left
    return Climbed(
        version=IntegerVersion(left=left, fitted=base.fitted) if sensitivity.held else None,
        said=sensitivity.summary,
        found=found[left],
        sensitivity=sensitivity,
    )


RUNG = Rung(title="layers in float", cost=Cost.EVALUATIONS, why_not=why_not, climb=climb)
