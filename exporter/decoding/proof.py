"""The proof of a decoder's engine: it computes what its weights say, and the library writes what it computes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from ...backends.decoding import Decoding, Logits, Tokens
from ...errors import VerificationError
from ...profiles.device.precision import PrecisionName, load_precision
from ..bundle.text_golden import TextGolden, divergence, golden_of
from ..language.agreement import Likening
from ..language.eager import by_weights
from ..sources.decoder import DecoderSource
from .judging import Judge
from .products import exact_products
from .rounding import Rounding
from .writing import WrittenText

# Divergence between an engine and what its weights say in torch, nats a token: of floats the rounding of sums in
# another order, of integers that of activations to 8 bits in the runtime's kernels as well. A layer that is left out
# or a scale of another block is above 0.1.
MOST_FLOAT, MOST_INTEGER = 1e-4, 3e-2
STEPPED = 24  # tokens of the library's that the engine alone is asked for, one by one
# Nats by which a token of the library may be below the likeliest. The library may choose other kernels than the engine
# alone: in integers those round activations and the cache; another network, or a lost cache, is nats away.
CLOSE, CLOSE_INTEGER = 0.1, 0.5
_REPORT = "Report this with the model's config.json and the versions of `edgepress doctor`."


def said_by_weights(
    source: DecoderSource, rounding: Rounding, golden: Judge, text: WrittenText
) -> tuple[list[Logits], Logits]:
    """What the engine's own weights say in torch: of each golden sequence, and before each token that was written."""
    with exact_products():
        *said, written = by_weights(source.decoder, rounding.weights, [*golden.windows, text.read[0]])
    return said, written[len(text.prompt) - 1 :]


def proven_text(
    rounding: Rounding, golden: Judge, said: Sequence[Logits], decoding: Decoding, *, itself: bool = True
) -> tuple[TextGolden, float]:
    """What a device will be held to, and how far the engine is from what its own weights say in torch, nats a token.

    The engine reads the golden text once for both.

    Args:
        said: of each golden sequence, as `said_by_weights` gives it.
        itself: it is the engine; a graph that runs in its stead rounds no activations.

    Raises:
        VerificationError: too far.
    """
    found = Likening()

    def answered() -> Iterator[tuple[Tokens, Logits, Logits]]:
        for expected, (window, reference, logits) in zip(said, golden.answered(decoding), strict=True):
            found.add(expected, logits, window)
            yield window, reference, logits

    written = golden_of(answered())
    strays = found.result().divergence
    most = MOST_INTEGER if load_precision(rounding.precision).integer and itself else MOST_FLOAT
    if not strays <= most:
        raise VerificationError(
            f"The engine in {rounding.title} does not compute what its weights say: it is {strays:.4f} nats a token "
            f"from them, and at most {most:g} is rounding.",
            hint="Report this with the model's config.json; another --precision or target may do.",
        )
    return written, strays


def same_with_cache(golden: TextGolden, decoding: Decoding) -> None:
    """See that a decoder says the same of a text at once and of one that it reads behind a cache.

    Raises:
        VerificationError: it does not.
    """
    strays = float(divergence(golden.own, golden.answers_in_parts(decoding)).mean())
    if not strays <= MOST_FLOAT:
        raise VerificationError(
            f"Behind its cache the engine is {strays:.4f} nats a token from what it says of the same text at once.",
            hint="Report this with the model's config.json; another target may do.",
        )


def same_as_library(decoding: Decoding, text: WrittenText, precision: PrecisionName) -> None:
    """See that the vendor's library writes what the engine holds likeliest, in the first tokens of what it wrote.

    Raises:
        VerificationError: it writes something else.
    """
    tokens = list(text.tokens[:STEPPED])
    logits = _step_by_step(decoding, list(text.prompt), tokens)
    below = logits.max(-1) - logits[np.arange(len(tokens)), tokens]
    close = CLOSE_INTEGER if load_precision(precision).integer else CLOSE
    if not below.max() <= close:
        raise VerificationError(
            f"The runtime's library does not write what the engine holds likeliest: token {int(below.argmax()) + 1} of "
            f"{len(tokens)} is {below.max():.2f} nats less likely.",
            hint=_REPORT,
        )


def same_as_weights(rounding: Rounding, text: WrittenText, logits: Logits) -> int:
    """How many of the tokens that were written are what the engine's own weights hold likeliest in torch.

    Args:
        logits: before each of them, as `said_by_weights` gives it.

    Raises:
        VerificationError: so many are not that it writes by other weights, or has lost its cache.
    """
    below = logits.max(-1) - logits[np.arange(len(text.tokens)), list(text.tokens)]
    if not below.mean() <= CLOSE:
        raise VerificationError(
            f"What is written in {rounding.title} is not what its weights say: its {len(text.tokens)} tokens are "
            f"{below.mean():.2f} nats below the likeliest in the mean.",
            hint=_REPORT,
        )
    return int((below == 0).sum())


def same_as_reference(source: DecoderSource, text: WrittenText) -> int:
    """How many of the tokens that were written, from the first on, FP32 writes greedily as well.

    FP32 reads the text once: up to where it holds another token likeliest, it would have written the same.
    """
    reference = source.reference()
    with exact_products():
        hidden = reference.through(text.read)[:, len(text.prompt) - 1 :]
    starts = range(0, len(text.tokens), STEPPED)
    with reference.held(None), exact_products():
        parts = [reference.logits_of(hidden[:, start : start + STEPPED])[0].argmax(-1) for start in starts]
    other = np.flatnonzero(np.concatenate(parts) != text.tokens)
    return int(other[0]) if other.size else len(text.tokens)


def _step_by_step(decoding: Decoding, prompt: list[int], written: list[int]) -> Logits:
    """Logits before each token that was written, of shape (written, vocabulary), one token at a time as it was."""
    decoding.reset()
    found = [decoding(np.array([prompt], dtype=np.int64))[0, -1]]
    found += [decoding(np.array([[token]], dtype=np.int64))[0, -1] for token in written[:-1]]
    return np.stack(found)
