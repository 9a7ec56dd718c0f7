"""What a ratio over a few samples says of others: where samples differ much, a few of them decide it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from .channels import sqnr

# Of fewer samples nothing can be drawn that says how others differ.
FEWEST = 8
# One in twenty draws lies below.
CONFIDENCE = 0.95
_DRAWS = 1000

Values = npt.NDArray[np.float64]
# Sums of squares of a reference and of what differs, of each sample of a feed.
Energies: TypeAlias = tuple[Values, Values]


def by_row(reference: Values, difference: Values) -> Energies:
    """Both by index of the first axis."""
    return _rows(reference), _rows(difference)


def lower_db(feeds: Sequence[Energies]) -> float | None:
    """The lower end of the one-sided 95 % interval of an SQNR, in dB: the percentile bootstrap over samples.

    The method is Efron's (An Introduction to the Bootstrap, 1993, ch. 13); the draws are always the same ones. A feed
    is a sample where there are enough of them, else each of its rows is.

    Returns:
        None where there are fewer than `FEWEST` samples.
    """
    signal, noise = _each(feeds, 0), _each(feeds, 1)
    if len(signal) < FEWEST:
        return None
    drawn = np.random.default_rng(0).integers(0, len(signal), (_DRAWS, len(signal)))
    ratios = [sqnr(float(s), float(n)) for s, n in zip(signal[drawn].sum(1), noise[drawn].sum(1), strict=True)]
    return float(np.quantile(ratios, 1 - CONFIDENCE, method="lower"))


def _rows(array: Values) -> Values:
    squares: Values = np.square(array).reshape(len(array) if array.ndim else 1, -1).sum(1)
    return squares


def _each(feeds: Sequence[Energies], which: int) -> Values:
    """One number a sample: of a feed, else of a row."""
    if len(feeds) >= FEWEST:
        return np.array([float(feed[which].sum()) for feed in feeds])
    return np.concatenate([np.zeros(0), *(feed[which] for feed in feeds)])
