"""What a ratio over a few samples says of others: where samples differ much, a few of them decide it."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from .channels import ROUNDING, heard, sqnr

# Of fewer samples nothing can be drawn that says how others differ.
FEWEST = 8
# Of the samples, that must hold the signal.
_SHARE = 0.25
# Of the samples, that must hold the noise where a difference is to be read off them.
_EVEN = 0.5
# One set of others in twenty lies below: the quantile of the normal distribution.
_ONE_SIDED_95 = 1.645

Values = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True)
class SampleSums:
    """What is kept of samples, one number each.

    Attributes:
        signal, noise: sums of squares of the reference, and of what differs from it.
        size: how many values a sample has.
        peak: the largest absolute value of the reference.
    """

    signal: Values
    noise: Values
    size: Values
    peak: Values

    @classmethod
    def of(cls, reference: Values, difference: Values, axis: int | None) -> SampleSums:
        """Those of one feed, of arrays that are not empty.

        Args:
            axis: each index of this axis is a sample; None: all of it is one.
        """
        samples = 1 if axis is None else reference.shape[axis]
        both = (reference, difference) if axis is None else (np.moveaxis(x, axis, 0) for x in (reference, difference))
        right, wrong = (array.reshape(samples, -1) for array in both)
        return cls(
            signal=np.square(right).sum(1),
            noise=np.square(wrong).sum(1),
            size=np.full(samples, float(right.shape[1])),
            peak=np.abs(right).max(1),
        )

    @classmethod
    def joined(cls, feeds: Sequence[SampleSums]) -> SampleSums:
        """Those of all feeds: a feed is a sample where there are enough of them."""
        return cls.beside([feed._whole() for feed in feeds] if len(feeds) >= FEWEST else feeds)

    @classmethod
    def beside(cls, parts: Sequence[SampleSums]) -> SampleSums:
        """Those of all parts, one behind the other."""
        signal, noise, size, peak = (
            np.concatenate([np.zeros(0), *(getattr(part, name) for part in parts)]) for name in cls.__slots__
        )
        return cls(signal=signal, noise=noise, size=size, peak=peak)

    def _whole(self) -> SampleSums:
        return SampleSums(
            signal=self.signal.sum(keepdims=True),
            noise=self.noise.sum(keepdims=True),
            size=self.size.sum(keepdims=True),
            peak=self.peak.max(keepdims=True),
        )

    def answered_db(self) -> list[float]:
        """The SQNR of each sample that has an answer, in dB: of one that is 0 there is no ratio.

        As with channels the signal counts as at least what is heard beside the largest, and rounding is no noise.
        """
        rounding = ROUNDING * self.peak.max()
        amplitude, noise = np.sqrt(self.signal / self.size), np.sqrt(self.noise / self.size)
        answered = amplitude > rounding
        noise = np.where(noise <= rounding, 0.0, noise)
        return _each_db(np.square(heard(amplitude))[answered], np.square(noise)[answered])


@dataclass(frozen=True, slots=True, kw_only=True)
class Few:
    """Samples that decide a figure because they hold the signal or the noise, where there are not many.

    Attributes:
        worth: how many samples of one size would say as much (Kish's effective size).
        of: how many there are.
    """

    worth: float
    of: int

    def __str__(self) -> str:
        return f"{self.worth:.0f} of {self.of} samples"


@dataclass(frozen=True, slots=True, kw_only=True)
class Gain:
    """What one of two sets of answers to the same samples has beyond the other.

    Attributes:
        db: of SQNR.
        error_db: its standard error, as an estimate for others of the kind.
    """

    db: float
    error_db: float


def spread(feeds: Sequence[SampleSums]) -> tuple[float | None, Few | None]:
    """What the SQNR of others like these samples is at least, in dB, and the samples that decide it, where few do.

    A feed is a sample where there are enough of them.
    """
    samples = SampleSums.joined(feeds)
    held = _few(samples.signal)
    return _lower_db(samples, held), held


def noisy(feeds: Sequence[SampleSums]) -> Few | None:
    """The samples that hold the noise, where few do: others like them may have much more of it, or none.

    Of each feed as many as it has, however many feeds there are.
    """
    return _few(SampleSums.beside(feeds).noise)


def gained(before: Mapping[str, Sequence[SampleSums]], after: Mapping[str, Sequence[SampleSums]]) -> Gain | None:
    """By how much the output that is furthest off is closer to the same reference, by sums of the same samples.

    The jackknife over samples is that of `_lower_db`, of the difference: what the two have in common is none of it.

    Args:
        before, after: by output, of each feed.

    Returns:
        None where there are fewer than `FEWEST` samples, or not the same of all outputs, where the difference without
        one of them is no finite number, and where less than half of them hold the noise: of those to come, one may
        hold more than all of these.
    """
    old, new = ([SampleSums.joined(feeds) for feeds in of.values()] for of in (before, after))
    counts = {len(sums.signal) for sums in (*old, *new)}
    if len(counts) != 1 or (count := counts.pop()) < FEWEST:
        return None
    with np.errstate(divide="ignore", invalid="ignore"):
        without = _worst_db(new, _without_each) - _worst_db(old, _without_each)
        found = (_worst_db(new, _total) - _worst_db(old, _total)).item()
    finite = bool(np.isfinite([*without, found]).all())
    if not finite or any(_worth(sums.noise) < _EVEN * count for sums in (*old, *new) if sums.noise.any()):
        return None
    deviation = math.sqrt((count - 1) * float(np.square(without - without.mean()).mean()))
    return Gain(db=found, error_db=deviation)


def _worst_db(outputs: Sequence[SampleSums], summed: Callable[[Values], Values]) -> Values:
    each: Values = 10 * np.log10([summed(sums.signal) / summed(sums.noise) for sums in outputs])
    worst: Values = each.min(axis=0)
    return worst


def _total(energies: Values) -> Values:
    total: Values = energies.sum(keepdims=True)
    return total


def _few(energies: Values) -> Few | None:
    """The samples that hold the energy, where that is less than a quarter of all.

    By Kish's effective size (Survey Sampling, 1965) of their energies. None also where there are fewer than `FEWEST`.
    """
    if len(energies) < FEWEST or not 0 < energies.sum() < math.inf:
        return None
    worth = _worth(energies)
    return Few(worth=worth, of=len(energies)) if worth < _SHARE * len(energies) else None


def _worth(energies: Values) -> float:
    """Kish's effective size: how many samples of one size would say as much."""
    shares = energies / energies.max()
    return float(shares.sum()) ** 2 / float(np.square(shares).sum())


def _lower_db(samples: SampleSums, held: Few | None) -> float | None:
    """The lower end of the one-sided 95 % interval of an SQNR, in dB, by the jackknife over samples.

    The deviation is that of the SQNRs without one sample each (Tukey's estimate; Efron and Tibshirani, An Introduction
    to the Bootstrap, 1993, ch. 11): a sample that decides the figure widens it most. Where few of them
    hold the signal, the figure is theirs alone, and the sample in the middle of those with an answer counts where it
    has less.

    Returns:
        None where there are fewer than `FEWEST` samples, where all answers are 0, and where one is no finite number.
    """
    signal, noise = samples.signal, samples.noise
    if len(signal) < FEWEST or not 0 < signal.sum() < math.inf or not np.isfinite(noise).all():
        return None
    all_db, answered = sqnr(float(signal.sum()), float(noise.sum())), samples.answered_db()
    with np.errstate(divide="ignore", invalid="ignore"):
        without = 10 * np.log10(_without_each(signal) / _without_each(noise))
    if not np.isfinite(without).all():
        return min(all_db, *answered)
    deviation = math.sqrt((len(signal) - 1) * float(np.square(without - without.mean()).mean()))
    # No set of these samples has less than the worst of them.
    lower = max(all_db - _ONE_SIDED_95 * deviation, min(_each_db(signal, noise)))
    return lower if held is None else min(lower, float(np.median(answered)))


def _each_db(signal: Values, noise: Values) -> list[float]:
    return [sqnr(float(s), float(n)) for s, n in zip(signal, noise, strict=True)]


def _without_each(energies: Values) -> Values:
    """The sum of all but one, for each: of those before and behind it, as a difference would leave rounding alone."""
    before = np.concatenate([[0.0], np.cumsum(energies)[:-1]])
    behind = np.concatenate([np.cumsum(energies[::-1])[::-1][1:], [0.0]])
    without: Values = before + behind
    return without
