"""Weights rounded by what a decoder makes of texts, as far as that pays on others."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ...backends.decoding import Logits, Tokens
from ...profiles.device.grid import Grid
from ...profiles.findings.language import TriedMethod
from ..language.agreement import Likening, spread
from ..language.compensating import round_with_texts
from ..language.eager import by_weights
from ..language.quantize import RoundedWeights
from ..language.tokens import digest_of
from .products import fast_products, multiplies_bfloat16
from .task import TextTask

# Texts that are calibrated on and their tokens; more where products are fast.
TEXTS, FAST_TEXTS, TEXT = 14, 28, 512
# Texts that say whether rounding by data paid, and how many tokens of them.
APART, APART_LENGTH = 3, 256
_MEASURE = "KL divergence from FP32, nats a token"
_WHY = "judged on texts that it was not fitted to"


@dataclass(frozen=True, slots=True, kw_only=True)
class ByTexts:
    """Weights rounded by texts, or to the nearest where that is nearer to FP32 on others.

    Attributes:
        tried: in order, each on top of those before it that were kept.
        said: which texts, a sentence.
        digest: of their tokens.
    """

    weights: RoundedWeights
    tried: tuple[TriedMethod, ...]
    said: str
    digest: str


def by_texts(task: TextTask, grids: Mapping[str, Grid | None]) -> ByTexts:
    """Of the targets of a run that want the same, the first has it made; one result is kept, as it is large."""
    kept = task.memo.once("rounded with texts", task.source.digest, dict[frozenset[Any], ByTexts])
    if (key := frozenset(grids.items())) not in kept:
        made = _made(task, grids)
        kept.clear()
        kept[key] = made
    return kept[key]


def _made(task: TextTask, grids: Mapping[str, Grid | None]) -> ByTexts:
    tokens, count = task.texts.calibration, FAST_TEXTS if multiplies_bfloat16() else TEXTS
    texts = spread(tokens, min(TEXT, task.source.decoder.context, len(tokens) // (2 * APART)), count + APART)
    fitted, apart = texts[:-APART], texts[-APART:, :APART_LENGTH]
    with task.step("rounding") as advance, fast_products():
        contest = _Contest(task, _weights(task, grids), apart)
        weights = _weights(task, grids)
        round_with_texts(weights.decoder, weights, fitted, advance=lambda share: advance(share, ""))
        contest.enter("error compensation", weights)
    said = f"{fitted.size:,} tokens of {task.texts.said}."
    return ByTexts(weights=contest.best, tried=tuple(contest.tried), said=said, digest=digest_of(texts))


class _Contest:
    """What is nearest to FP32 so far, on texts that were kept apart."""

    def __init__(self, task: TextTask, first: RoundedWeights, texts: Tokens) -> None:
        self.best, self.tried, self._texts = first, list[TriedMethod](), texts
        plain = _weights(task, {})
        self._meant = task.memo.once("meant", task.source.digest, lambda: by_weights(plain.decoder, plain, texts))
        self._least = self._divergence(first)
        first.held.clear()  # rounded again if they win, so that two are not held at a time

    def enter(self, name: str, weights: RoundedWeights) -> bool:
        """Whether these are nearer, and so the best from now on."""
        before, after = self._least, self._divergence(weights)
        kept = after < before
        self.tried.append(TriedMethod(name=name, kept=kept, why=_WHY, measure=_MEASURE, before=before, after=after))
        if kept:
            self.best, self._least = weights, after
        return kept

    def _divergence(self, weights: RoundedWeights) -> float:
        """Mean over positions, nats a token."""
        found: Logits = by_weights(weights.decoder, weights, self._texts)
        likening = Likening()
        for expected, logits, text in zip(self._meant, found, self._texts, strict=True):
            likening.add(expected, logits, text)
        return likening.result().divergence


def _weights(task: TextTask, grids: Mapping[str, Grid | None]) -> RoundedWeights:
    return RoundedWeights(decoder=task.source.decoder, checkpoint=task.source.checkpoint, grids=grids)
