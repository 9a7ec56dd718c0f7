"""Weights rounded layer by layer, by what the layers read on calibration data."""

from __future__ import annotations

from ....errors import InputError
from ..gather import FEWEST_BEYOND, JUDGED_ON, data_behind
from ..mixed_int8 import IntegerVersion
from .rung import Attempt, Climbed, Cost, Rung


def why_not(attempt: Attempt) -> str:
    """What is missing."""
    recipe = attempt.mixed.recipe
    if recipe.sparse:
        return "weights that are zero in twos of four stay so, and rounding by data would move them"
    if recipe.statistics is not None:
        return "it needs calibration data, and there are statistics of them alone"
    if attempt.source.calibration is None and recipe.calibration is None:
        return "there are no calibration data"
    return ""


def climb(attempt: Attempt) -> Climbed:
    """Round, on samples that it is not judged on.

    Raises:
        InputError: there are too few of them.
    """
    from ..compensated import fit_weights

    mixed = attempt.mixed
    feeds, samples = data_behind(attempt.source, mixed.reference, mixed.recipe)
    if samples < FEWEST_BEYOND:
        raise InputError(
            f"It needs {FEWEST_BEYOND} samples behind the {JUDGED_ON} that it is judged on, and there are {samples}."
        )
    fitted, left = fit_weights(
        lambda weights: mixed.quantizer(IntegerVersion(fitted=weights)),
        mixed.judged,
        feeds,
        mixed.scratch,
        lambda note: attempt.advance(None, note),
    )
    others = f", {len(left)} others to the nearest" if left else ""
    said = f"{len(fitted)} layers rounded by {samples} samples that they are not judged on{others}"
    return Climbed(version=IntegerVersion(fitted=fitted), said=said)


RUNG = Rung(title="weights rounded by data", cost=Cost.CALIBRATION, why_not=why_not, climb=climb)
