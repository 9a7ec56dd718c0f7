"""Weights rounded by what a decoder makes of texts, as far as that pays on others."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
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


@dataclass(frozen=True, slots=True, kw_only=True)
class ByTexts:
    """Weights rounded by texts, or to the nearest where that is nearer to FP32 on others.

    Attributes:
        said: which texts, a sentence.
        digest: of their tokens.
    """

    weights: RoundedWeights
    method: TriedMethod
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
    """Round by what texts make of the weights, where that pays on texts that were kept apart."""
    tokens, count = task.texts.calibration, FAST_TEXTS if multiplies_bfloat16() else TEXTS
    texts = spread(tokens, min(TEXT, task.source.decoder.context, len(tokens) // (2 * APART)), count + APART)
    fitted, apart = texts[:-APART], texts[-APART:, :APART_LENGTH]
    weights = _weights(task, grids)
    with task.step("rounding") as advance, fast_products():
        round_with_texts(weights.decoder, weights, fitted, advance=lambda share: advance(share, ""))
        nearest, plain = _weights(task, grids), _weights(task, {})
        meant = task.memo.once("meant", task.source.digest, lambda: by_weights(plain.decoder, plain, [*apart]))
        before, after = (
            _divergence(meant, by_weights(weights.decoder, each, [*apart]), apart) for each in (nearest, weights)
        )
    method = TriedMethod(
        name="error compensation",
        kept=after < before,
        why="judged on texts that it was not fitted to",
        measure="KL divergence from FP32, nats a token",
        before=before,
        after=after,
    )
    said = f"{fitted.size:,} tokens of {task.texts.said}."
    return ByTexts(weights=weights if method.kept else nearest, method=method, said=said, digest=digest_of(texts))


def _weights(task: TextTask, grids: Mapping[str, Grid | None]) -> RoundedWeights:
    return RoundedWeights(decoder=task.source.decoder, checkpoint=task.source.checkpoint, grids=grids)


def _divergence(meant: Sequence[Logits], found: Sequence[Logits], texts: Tokens) -> float:
    """Mean divergence, nats a token."""
    likening = Likening()
    for expected, logits, text in zip(meant, found, texts, strict=True):
        likening.add(expected, logits, text)
    return likening.result().divergence
