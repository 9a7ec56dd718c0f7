"""What a decoder loses, on windows of text that nothing was fitted to.

FP32's answers are computed once and lie on disk: of a small model they are larger than its weights.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np

from ...backends.decoding import Decoding, Logits, Tokens
from ...errors import InputError
from ...profiles.findings.language import TextParity, paired_rise
from ..language.agreement import MOST, Likening, mean_loss, spread
from ..language.architecture import tensors_of
from ..language.reference import TorchReference
from ..language.weights import Floats
from ..progress import Advance
from .products import exact_products

# Predictions that are compared: 16 windows tell a rise of the perplexity of 2 % from none on most models, and cost a
# model of 135 million weights ten seconds on two cores. A larger one is asked fewer, so as not to take hours.
WINDOWS, LEAST_WINDOWS, LENGTH = 16, 4, 256
# A quarter of them, where nothing is decided by what text loses: half as many windows, half as long.
FEW_WINDOWS, SHORT = 8, 128
MOST_PRODUCTS = 600_000_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class AskedText:
    """What FP32 is asked.

    Attributes:
        said: which text, in words.
        windows: of shape (windows, length), int64.
        answers: a file that is written.
    """

    said: str
    windows: Tokens
    answers: Path


@dataclass(frozen=True, slots=True, kw_only=True)
class Judge:
    """Windows of text and FP32's answers.

    Attributes:
        text: which, in words.
        windows: of shape (windows, length), int64.
        answers: a file of FP32's logits, of shape (windows, length, vocabulary), float32.
        before: FP32's perplexity.
    """

    text: str
    windows: Tokens
    answers: Path
    vocabulary: int
    before: float

    def told(self, decoding: Decoding) -> Likening:
        """What an open engine answers to the same windows, beside FP32."""
        comparison = Likening()
        for window, answer, logits in self.answered(decoding):
            comparison.add(answer, logits, window)
        return comparison

    def answered(self, decoding: Decoding) -> Iterator[tuple[Tokens, Logits, Logits]]:
        """Of each window its tokens, FP32's logits and an open engine's, each of shape (length, vocabulary)."""
        with self.answers.open("rb") as kept:
            for window in self.windows:
                decoding.reset()
                logits = decoding(window[None])[0]
                yield window, self._answer(kept, len(window)), logits

    def parity(self, told: Likening, how: str) -> TextParity:
        """The same for the report.

        Args:
            how: what ran.
        """
        found = told.result()
        before, after = (
            [loss * count for loss, count in zip(losses, told.counts, strict=True)]
            for losses in (told.references, told.losses)
        )
        return TextParity(
            text=self.text,
            tokens=found.tokens,
            agreement=found.agreeing,
            kl=found.divergence,
            before=found.reference,
            after=found.perplexity,
            rise=paired_rise(before, after, told.counts),
            how=how,
        )

    def _answer(self, kept: BinaryIO, length: int) -> Logits:
        """The next window's answer. A file is read: a mapping of it costs more, a page at a time."""
        return np.fromfile(kept, np.float32, length * self.vocabulary).reshape(length, self.vocabulary)


def asked(reference: TorchReference, texts: Sequence[AskedText], advance: Advance) -> list[Judge]:
    """Ask FP32. Each layer is read once for all texts.

    Raises:
        InputError: it answers what is no number, or holds a text impossible.
    """
    layers = reference.decoder.layers
    hidden = [reference.embedded(text.windows) for text in texts]
    for layer in layers:
        advance(layer.index / len(layers), texts[0].said)
        with reference.held(layer.index), exact_products():
            hidden = [reference.layer(layer.index, each) for each in hidden]
    with reference.held(None), exact_products():
        return [_answered(reference, text, each) for text, each in zip(texts, hidden, strict=True)]


def _answered(reference: TorchReference, text: AskedText, hidden: Floats) -> Judge:
    """The answers to a text, by what the last layer gives of it."""
    losses = []
    with text.answers.open("wb") as kept:
        for index, window in enumerate(text.windows):
            logits = _numbers(reference.logits_of(hidden[index : index + 1])[0], reference)
            np.ascontiguousarray(logits, dtype=np.float32).tofile(kept)
            losses.append(mean_loss(logits, window))
    before = math.exp(sum(losses) / len(losses))
    if before >= math.exp(MOST):
        raise _knows_nothing(reference, text.said)
    return Judge(
        text=text.said,
        windows=text.windows,
        answers=text.answers,
        vocabulary=reference.decoder.vocabulary,
        before=before,
    )


def window_count(parameters: int) -> int:
    """Windows by which a model of so many weights is judged."""
    return min(WINDOWS, max(LEAST_WINDOWS, MOST_PRODUCTS // (parameters * LENGTH)))


def windows_of(tokens: Tokens, count: int = WINDOWS, length: int = LENGTH) -> Tokens:
    """Windows of a text of tokens, spread over all of it; fewer or shorter ones where it is short.

    Returns:
        Of shape (windows, length), at least two windows of two tokens.

    Raises:
        ValueError: fewer than four tokens.
    """
    if len(tokens) < 4:
        raise ValueError(f"{len(tokens)} tokens; expected at least 4")
    return spread(tokens, min(length, len(tokens) // 2), count)


def _knows_nothing(reference: TorchReference, text: str) -> InputError:
    usual = math.log(reference.decoder.vocabulary)
    return InputError(
        f"The model holds {text} impossible: it loses {MOST:.0f} nats a token and more, "
        f"where a blind guess loses {usual:.0f}.",
        hint="Check that its weights are whole, and that the tokenizer is its own.",
    )


def _numbers(logits: Logits, reference: TorchReference) -> Logits:
    """The logits, all of them finite.

    Raises:
        InputError: they are not; the weight that is the reason is named, where one is.
    """
    if np.isfinite(logits).all():
        return logits
    tensors = tensors_of(reference.decoder)
    blamed = next((each.name for each in tensors if not np.isfinite(reference.checkpoint.array(each)).all()), None)
    why = "its values overflow" if blamed is None else f"{blamed} has weights that are no finite numbers"
    raise InputError(
        f"In float32 the model itself gives logits that are no finite numbers: {why}.",
        hint="Give a checkpoint whose training did not diverge.",
    )
