"""What a ratio over a few samples says of others: where samples differ much, a few of them decide it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from .channels import sqnr

# Of fewer samples nothing can be drawn that says how others differ.
FEWEST = 8
# Of the samples, that must hold the signal.
_SHARE = 0.25
# One set of others in twenty lies below: the quantile of the normal distribution.
_ONE_SIDED_95 = 1.645

Values = npt.NDArray[np.float64]
# Sums of squares of a reference and of what differs, of each sample of a feed.
SampleSums: TypeAlias = tuple[Values, Values]


def by_row(reference: Values, difference: Values) -> SampleSums:
    """Both by index of the first axis."""
    return _rows(reference), _rows(difference)


def lower_db(feeds: Sequence[SampleSums]) -> float | None:
    """The lower end of the one-sided 95 % interval of an SQNR, in dB, by the jackknife over samples.

    The deviation is that of the SQNRs without one sample each (Tukey's estimate; Efron and Tibshirani, An Introduction
    to the Bootstrap, 1993, ch. 11): a sample that decides the figure widens it most. A feed is a sample where there are
    enough of them, else each of its rows is. Where less than a quarter of them hold the signal, by Kish's effective
    size (Survey Sampling, 1965), the figure is theirs alone, and the sample in the middle counts where it has less.

    Returns:
        None where there are fewer than `FEWEST` samples.
    """
    signal, noise = _each(feeds, 0), _each(feeds, 1)
    count = len(signal)
    if count < FEWEST:
        return None
    all_db = sqnr(float(signal.sum()), float(noise.sum()))
    with np.errstate(divide="ignore", invalid="ignore"):
        without = 10 * np.log10(_without_each(signal) / _without_each(noise))
    if not np.isfinite(without).all():
        return min(all_db, *_each_db(signal, noise))
    deviation = math.sqrt((count - 1) * float(np.square(without - without.mean()).mean()))
    each = _each_db(signal, noise)
    # No set of these samples has less than the worst of them.
    lower = max(all_db - _ONE_SIDED_95 * deviation, min(each))
    few = float(signal.sum()) ** 2 < _SHARE * count * float(np.square(signal).sum())
    return min(lower, float(np.median(each))) if few else lower


def _each_db(signal: Values, noise: Values) -> list[float]:
    return [sqnr(float(s), float(n)) for s, n in zip(signal, noise, strict=True)]


def _without_each(energies: Values) -> Values:
    """The sum of all but one, for each: of those before and behind it, as a difference would leave rounding alone."""
    before = np.concatenate([[0.0], np.cumsum(energies)[:-1]])
    behind = np.concatenate([np.cumsum(energies[::-1])[::-1][1:], [0.0]])
    without: Values = before + behind
    return without


def _rows(array: Values) -> Values:
    squares: Values = np.square(array).reshape(len(array) if array.ndim else 1, -1).sum(1)
    return squares


def _each(feeds: Sequence[SampleSums], which: int) -> Values:
    """One number a sample: of a feed, else of a row."""
    if len(feeds) >= FEWEST:
        return np.array([float(feed[which].sum()) for feed in feeds])
    return np.concatenate([np.zeros(0), *(feed[which] for feed in feeds)])
