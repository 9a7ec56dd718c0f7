"""Scores of classes, as shares that can be read, and how far two engines' are apart."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from ...backends.base import Array
from ...errors import InputError
from .findings import Classes, ClassesAgreement, Ranked
from .settings import DemoSettings

Scores = npt.NDArray[np.float64]


def shares(given: Sequence[Array]) -> tuple[list[Scores], bool]:
    """Scores (C,) of each engine in 0..1, and whether that took a softmax: where one lies outside, of all.

    Raises:
        InputError: values that are no numbers.
    """
    scores = [array.astype(np.float64) for array in given]
    if not all(np.isfinite(one).all() for one in scores):
        raise InputError("Scores are no numbers.", hint="`edgepress verify` says whether the engine is right.")
    if all(((one >= 0) & (one <= 1)).all() for one in scores):
        return scores, False
    powers = [np.exp(one - one.max()) for one in scores]
    return [one / one.sum() for one in powers], True


def read_classes(scores: Scores, softmax: bool, asked: DemoSettings) -> Classes:
    """The best classes."""
    best = _best(scores, asked.top)
    ranked = (Ranked(label=n, name=asked.labels(n), score=float(scores[n])) for n in best)
    return Classes(top=tuple(ranked), how="softmax" if softmax else "as given")


def classes_agreement(first: Scores, second: Scores, top: int) -> ClassesAgreement:
    """How far the scores of two engines are apart.

    Raises:
        InputError: they have another number of classes.
    """
    if first.shape != second.shape:
        raise InputError(f"One engine gives {len(first)} classes, the other {len(second)}; expected the same model.")
    best = [_best(scores, top) for scores in (first, second)]
    return ClassesAgreement(
        same_first=best[0][0] == best[1][0],
        common=len(set(best[0]) & set(best[1])),
        of=len(best[0]),
        score=float(np.abs(first - second).max()),
    )


def _best(scores: Scores, top: int) -> list[int]:
    """Numbers of the best, of equals the lower."""
    return [int(number) for number in np.argsort(-scores, kind="stable")[:top]]
