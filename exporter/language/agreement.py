"""How near one decoder's thoughts are to another's: perplexity, greedy tokens that agree, divergence a token.

Windows of a text are judged one at a time, and within one a few positions at a time; a window counts as one sample, as
losses of neighbouring tokens depend on each other.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from ...backends.decoding import Logits, Tokens

PART = 4  # positions that are compared at a time: of 49,152 words 0.8 MB an array, which a processor's cache holds
# Nats a token that count as the loss of a whole window: float32's least probability is e^-103. More fits no perplexity.
MOST = 100.0
# Two-sided 95 % points of Student's t by degrees of freedom; the next lower one holds where there is none.
_T95 = {1: 12.706, 2: 4.303, 3: 3.182, 4: 2.776, 5: 2.571, 6: 2.447, 7: 2.365, 8: 2.306, 9: 2.262, 10: 2.228}
_T95 |= {15: 2.131, 20: 2.086, 30: 2.042, 60: 2.0, 120: 1.98}


@dataclass(frozen=True, slots=True, kw_only=True)
class Likeness:
    """What a text says about a decoder and its reference.

    Attributes:
        perplexity, reference: exp of the mean loss of a token, of both.
        low, high: 95 % interval of `perplexity / reference`, by the paired differences of windows; equal to the ratio
            itself where there is one window only.
        agreeing: share of positions whose most likely token is the same.
        divergence: mean over positions of KL(reference || decoder), in nats.
        tokens, windows: how many were judged.
    """

    perplexity: float
    reference: float
    low: float
    high: float
    agreeing: float
    divergence: float
    tokens: int
    windows: int

    @property
    def ratio(self) -> float:
        """Perplexity over the reference's."""
        return self.perplexity / self.reference


@dataclass(slots=True, kw_only=True)
class Likening:
    """Windows of text as they are judged; `result` at any time."""

    losses: list[float] = field(default_factory=list)
    references: list[float] = field(default_factory=list)
    counts: list[int] = field(default_factory=list)
    agreeing: int = 0
    divergence: float = 0.0
    positions: int = 0

    def add(self, reference: Logits, logits: Logits, tokens: Tokens) -> None:
        """Judge a window.

        Args:
            reference: of shape (positions, vocabulary), after each token.
            logits: of the decoder, likewise.
            tokens: of shape (positions,); each but the first is what was to be told.

        Raises:
            ValueError: fewer than two tokens, or shapes that do not go together.
        """
        if len(tokens) < 2 or reference.shape != logits.shape or len(logits) != len(tokens):
            raise ValueError(f"logits of {reference.shape} and {logits.shape} for {tokens.shape} tokens")
        mine = its = 0.0
        for part in _parts(len(tokens)):
            expected, found = _Peaked.of(reference[part]), _Peaked.of(logits[part])
            self.agreeing += int((expected.likeliest == found.likeliest).sum())
            self.divergence += expected.divergence_from(found)
            told = tokens[part.start + 1 : part.stop + 1]
            mine, its = mine + found.loss(told), its + expected.loss(told)
        self.positions += len(tokens)
        self.counts.append(len(tokens) - 1)
        self.losses.append(min(mine / self.counts[-1], MOST))
        self.references.append(min(its / self.counts[-1], MOST))

    def result(self) -> Likeness:
        """What the windows so far say.

        Raises:
            ValueError: there was none.
        """
        if not self.losses:
            raise ValueError("no window was judged")
        weights = np.asarray(self.counts) / sum(self.counts)
        mine, its = np.asarray(self.losses), np.asarray(self.references)
        more = float(weights @ (mine - its))
        wide = half_width(mine - its)
        return Likeness(
            perplexity=math.exp(float(weights @ mine)),
            reference=math.exp(float(weights @ its)),
            low=math.exp(more - wide),
            high=math.exp(more + wide),
            agreeing=self.agreeing / self.positions,
            divergence=max(0.0, self.divergence / self.positions),
            tokens=sum(self.counts),
            windows=len(self.counts),
        )


def mean_loss(logits: Logits, tokens: Tokens) -> float:
    """The mean loss of the tokens of a window but the first, in nats, at most MOST.

    Args:
        logits: of shape (positions, vocabulary), after each token.
        tokens: of shape (positions,), at least two.
    """
    losses = (_Peaked.of(logits[part]).loss(tokens[part.start + 1 : part.stop + 1]) for part in _parts(len(tokens)))
    return min(sum(losses) / (len(tokens) - 1), MOST)


def half_width(samples: npt.NDArray[np.float64]) -> float:
    """Half of the 95 % interval of the mean, by Student's t; 0 of one sample."""
    if len(samples) < 2:
        return 0.0
    degrees = max(each for each in _T95 if each <= len(samples) - 1)
    return _T95[degrees] * float(samples.std(ddof=1)) / math.sqrt(len(samples))


def windows(tokens: Tokens, length: int, most: int | None = None) -> Iterator[Tokens]:
    """Windows of the text that do not overlap; a rest shorter than `length` is left out, unless there is no other."""
    whole = len(tokens) // length
    if not whole and len(tokens) > 1:
        yield tokens
    for index in range(whole if most is None else min(whole, most)):
        yield tokens[index * length : (index + 1) * length]


def spread(tokens: Tokens, length: int, count: int) -> Tokens:
    """So many windows from all over a text, of shape (windows, length), for calibration.

    Fewer where the text has no more, and one shorter window of a text that is shorter itself.
    """
    every = list(windows(tokens, length))
    if not every:
        return np.zeros((0, length), np.int64)
    chosen = np.unique(np.linspace(0, len(every) - 1, min(count, len(every))).round().astype(int))
    return np.stack([every[index] for index in chosen])


def _parts(count: int) -> Iterator[slice]:
    return (slice(start, min(start + PART, count)) for start in range(0, count, PART))


@dataclass(frozen=True, slots=True, kw_only=True)
class _Peaked:
    """Some positions' logits in float32, of shape (positions, vocabulary), below the largest of each.

    Sums over the vocabulary are float64. The difference of two near values is exact in float32 (Sterbenz), so that of
    equal logits the divergence is 0, and of near ones as small as it is.

    Attributes:
        likeliest: of shape (positions,).
        below: logits minus the largest one.
        shares: exp of these.
        totals: sums of the shares, of shape (positions,), float64.
    """

    likeliest: npt.NDArray[np.intp]
    below: npt.NDArray[np.float32]
    shares: npt.NDArray[np.float32]
    totals: npt.NDArray[np.float64]

    @classmethod
    def of(cls, logits: Logits) -> _Peaked:
        likeliest = logits.argmax(-1)
        below = logits - np.take_along_axis(logits, likeliest[:, None], -1)
        shares = np.exp(below)
        return cls(likeliest=likeliest, below=below, shares=shares, totals=shares.sum(-1, dtype=np.float64))

    def loss(self, told: Tokens) -> float:
        """Sum over the first positions, as many as there are tokens, of -log p(token), in nats."""
        rows = np.arange(len(told))
        return float((np.log(self.totals[rows]) - self.below[rows, told]).sum())

    def divergence_from(self, other: _Peaked) -> float:
        """Sum over positions of KL(self || other), in nats."""
        apart = np.einsum("ij,ij->i", self.shares, self.below - other.below, dtype=np.float64)
        return float((apart / self.totals - np.log(self.totals) + np.log(other.totals)).sum())
