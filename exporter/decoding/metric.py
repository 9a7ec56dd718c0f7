"""The user's own metric of a decoder, of FP32 and of an engine."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from ...backends.base import Array
from ...backends.decoding import Decoding, Logits, Tokens
from ...errors import InputError
from ...profiles.findings.report import TaskMetric
from ..language.decoder import Decoder
from ..language.tokens import tokenizer_in
from ..sources.decoder import DecoderSource
from ..sources.score import score
from .task import TextTask

IDS, MASK, LOGITS = "input_ids", "attention_mask", "logits"


@dataclass(frozen=True, slots=True, kw_only=True)
class TextPredict:
    """What `evaluate(predict)` of a decoder is given: logits of tokens, text that is written, and the tokenizer.

    Attributes:
        logits: of tokens of shape (batch, count), of shape (batch, count, vocabulary).
        greedy: so many most likely tokens after a prompt, fewer where an end of text comes first.
        tokenizer: directory of the tokenizer's files.
    """

    decoder: Decoder
    logits: Callable[[Tokens], Logits]
    greedy: Callable[[list[int], int], list[int]]
    tokenizer: Path | None

    def __call__(self, feed: Mapping[str, Any]) -> dict[str, Array]:
        """Logits after each token.

        Args:
            feed: `input_ids` of shape (batch, count); an `attention_mask` may be given where it is all ones.

        Returns:
            `logits` of shape (batch, count, vocabulary), float32.

        Raises:
            InputError: other inputs, no tokens of the model, or more than its context.
        """
        if IDS not in feed or set(feed) - {IDS, MASK}:
            raise InputError(f"predict was given {', '.join(feed) or 'nothing'}; a decoder takes {IDS}.")
        if MASK in feed and not np.all(feed[MASK]):
            raise InputError(
                f"{MASK} hides tokens, which predict does not do.",
                hint="Fill shorter texts up behind their end: what is there changes nothing before it.",
            )
        return {LOGITS: self.logits(self._checked(np.asarray(feed[IDS])))}

    def write(self, prompt: Sequence[int], most: int) -> list[int]:
        """Tokens that are written greedily after a prompt, up to an end of text.

        Raises:
            InputError: no prompt, no tokens of the model, or more than its context.
        """
        tokens = self._checked(np.asarray([list(prompt)]))
        if tokens.shape[1] + most > self.decoder.context:
            raise self._too_long(tokens.shape[1] + most)
        written = self.greedy(tokens[0].tolist(), most)
        end = next((index for index, token in enumerate(written) if token in self.decoder.eos), len(written))
        return written[:end]

    def encode(self, text: str) -> list[int]:
        """The tokens of a text, with those that the tokenizer begins it with."""
        return [int(token) for token in self._words()(text, verbose=False)["input_ids"]]

    def decode(self, tokens: Sequence[int]) -> str:
        """The text of tokens, without those that are none."""
        return str(self._words().decode(list(tokens), skip_special_tokens=True))

    def _checked(self, tokens: npt.NDArray[Any]) -> Tokens:
        if tokens.ndim != 2 or not tokens.size or tokens.dtype.kind not in "iu":
            raise InputError(f"{IDS} is {tokens.dtype} of shape {tokens.shape}; expected integers (batch, count).")
        if tokens.min() < 0 or tokens.max() >= self.decoder.vocabulary:
            raise InputError(f"{IDS} has token {tokens.max()}; the model has 0 to {self.decoder.vocabulary - 1}.")
        if tokens.shape[1] > self.decoder.context:
            raise self._too_long(tokens.shape[1])
        return np.ascontiguousarray(tokens, dtype=np.int64)

    def _too_long(self, count: int) -> InputError:
        return InputError(f"predict was asked for {count} tokens; the model has a context of {self.decoder.context}.")

    def _words(self) -> Any:
        if self.tokenizer is None:
            raise InputError("The model has no tokenizer, so that predict neither encodes nor decodes.")
        return tokenizer_in(self.tokenizer)


def metric(task: TextTask, decoding: Decoding, how: str) -> TaskMetric | None:
    """What `evaluate` says of FP32, once in a run, and of an open engine; None without it.

    Raises:
        InputError: it raised, or did not return a finite number.
    """
    evaluate, source = task.source.evaluate, task.source
    if evaluate is None:
        return None

    def of_reference() -> float:
        with _reference(source) as predict:
            return score(evaluate, predict)

    before = task.memo.once("metric", source.digest, of_reference)
    return TaskMetric(before=before, after=score(evaluate, _engine(source, decoding)), how=how)


@contextmanager
def _reference(source: DecoderSource) -> Iterator[TextPredict]:
    """FP32. All weights are in memory: a metric may ask thousands of times."""
    reference, ends = source.reference(), source.decoder.eos
    with reference.held():
        yield TextPredict(
            decoder=source.decoder,
            logits=reference.logits,
            greedy=lambda prompt, most: reference.greedy(prompt, most, ends=ends),
            tokenizer=source.tokenizer,
        )


def _engine(source: DecoderSource, decoding: Decoding) -> TextPredict:
    def logits(tokens: Tokens) -> Logits:
        decoding.reset()
        return decoding(tokens)

    def greedy(prompt: list[int], most: int) -> list[int]:
        decoding.reset()
        written: list[int] = []
        given = prompt
        while len(written) < most and not set(written[-1:]) & set(source.decoder.eos):
            written.append(int(decoding(np.array([given], dtype=np.int64))[0, -1].argmax()))
            given = written[-1:]
        return written

    return TextPredict(decoder=source.decoder, logits=logits, greedy=greedy, tokenizer=source.tokenizer)
