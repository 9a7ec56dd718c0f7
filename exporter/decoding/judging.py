"""What a decoder loses, on windows of text that nothing was fitted to.

FP32's answers are computed once and lie on disk: of a small model they are larger than its weights.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import numpy.typing as npt

from ...backends.decoding import Decoding, Logits, Tokens
from ...profiles.findings.language import Rise, TextParity, paired_rise

# Predictions that are compared: 16 windows tell a rise of the perplexity of 2 % from none on most models, and cost a
# model of 135 million weights ten seconds on two cores.
WINDOWS, LENGTH = 16, 256
Answer = Callable[[Tokens], Logits]


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """What was found of one engine.

    Attributes:
        losses: of each window, the sum in nats.
        agreement: share of positions at which the likeliest token is FP32's.
        kl: mean divergence from FP32, nats a token.
    """

    losses: npt.NDArray[np.float64]
    agreement: float
    kl: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Judge:
    """Windows of text and FP32's answers.

    Attributes:
        text: which, in words.
        windows: of shape (windows, length), int64.
        losses: FP32's of each window, the sum in nats.
        answers: a file of FP32's logits, of shape (windows, length, vocabulary), float32.
    """

    text: str
    windows: Tokens
    losses: npt.NDArray[np.float64]
    answers: Path
    vocabulary: int
    _shape: tuple[int, int, int] = field(init=False)

    def __post_init__(self) -> None:
        """The shape of the file."""
        object.__setattr__(self, "_shape", (*self.windows.shape, self.vocabulary))

    @classmethod
    def of(cls, text: str, windows: Tokens, vocabulary: int, reference: Answer, directory: Path) -> Judge:
        """Ask FP32, window by window.

        Args:
            reference: logits of tokens of shape (1, length), of shape (1, length, vocabulary).
        """
        path = directory / "fp32-logits"
        kept = np.memmap(path, np.float32, "w+", shape=(*windows.shape, vocabulary))
        losses = []
        for index, window in enumerate(windows):
            kept[index] = reference(window[None])[0]
            losses.append(loss(kept[index], window))
        kept.flush()
        return cls(text=text, windows=windows, losses=np.array(losses), answers=path, vocabulary=vocabulary)

    def told(self, decoding: Decoding) -> Told:
        """What an open engine answers to the same windows."""
        losses, same, kl = [], 0, 0.0
        for window, answer, logits in self.answered(decoding):
            losses.append(loss(logits, window))
            same += int((logits.argmax(-1) == answer.argmax(-1)).sum())
            kl += float(divergences(answer, logits).sum())
        count = self.windows.size
        return Told(losses=np.array(losses), agreement=same / count, kl=kl / count)

    def answered(self, decoding: Decoding) -> Iterator[tuple[Tokens, Logits, Logits]]:
        """Of each window its tokens, FP32's logits and an open engine's, each of shape (length, vocabulary)."""
        kept = np.memmap(self.answers, np.float32, "r", shape=self._shape)
        for index, window in enumerate(self.windows):
            decoding.reset()
            yield window, np.asarray(kept[index]), decoding(window[None])[0]

    def parity(self, told: Told, how: str, written: int | None = None, same: int | None = None) -> TextParity:
        """The same for the report.

        Args:
            how: what ran.
            written, same: greedy tokens that were compared, and how many from the first on are FP32's.
        """
        sizes = [self.windows.shape[1] - 1] * len(self.windows)
        before, after = (float(np.exp(values.sum() / sum(sizes))) for values in (self.losses, told.losses))
        return TextParity(
            text=self.text,
            tokens=self.windows.size,
            agreement=told.agreement,
            kl=told.kl,
            before=before,
            after=after,
            rise=self.rise(told),
            how=how,
            written=written,
            same=same,
        )

    def rise(self, told: Told) -> Rise:
        """How much larger the perplexity is than FP32's."""
        return paired_rise(self.losses, told.losses, [self.windows.shape[1] - 1] * len(self.windows))


def windows_of(tokens: Tokens, count: int = WINDOWS, length: int = LENGTH) -> Tokens:
    """Windows of a text of tokens, spread over all of it; fewer or shorter ones where it is short.

    Returns:
        Of shape (windows, length), at least two windows of two tokens.

    Raises:
        ValueError: fewer than four tokens.
    """
    if len(tokens) < 4:
        raise ValueError(f"{len(tokens)} tokens; expected at least 4")
    length = min(length, len(tokens) // 2)
    most = min(count, len(tokens) // length)
    begins = np.linspace(0, len(tokens) - length, most).astype(int)
    return np.stack([tokens[begin : begin + length] for begin in begins])


def loss(logits: Logits, window: Tokens) -> float:
    """What the tokens of a window cost, each but the first, the sum in nats."""
    known = log_probabilities(logits[:-1])
    return -float(np.take_along_axis(known, window[1:, None], -1).sum())


def divergences(of: Logits, by: Logits) -> npt.NDArray[np.float64]:
    """Kullback-Leibler divergence D(of || by) at each position, nats."""
    first, second = log_probabilities(of), log_probabilities(by)
    return np.asarray((np.exp(first) * (first - second)).sum(-1), dtype=np.float64)


def log_probabilities(logits: Logits) -> npt.NDArray[np.float64]:
    """log softmax over the last axis, in float64."""
    wide = logits.astype(np.float64)
    wide -= wide.max(-1, keepdims=True)
    wide -= np.log(np.exp(wide).sum(-1, keepdims=True))
    return wide
