"""The proof of a decoder's engine: it computes what its weights say, and the library writes what it computes."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from ...backends.base import Engine
from ...backends.decoding import Decoding, Logits, Tokens
from ...backends.registry import load_backend
from ...errors import UnservedError, VerificationError
from ...profiles.device.precision import load_precision
from ...profiles.findings.gap import Gap
from ..bundle.text_golden import TextGolden, divergence, golden_of
from ..language.agreement import Likening
from ..language.eager import by_weights
from ..sources.decoder import DecoderSource
from .judging import Judge
from .rounding import Rounding

# Divergence between an engine and what its weights say in torch, nats a token: of floats the rounding of sums in
# another order, of integers that of activations to 8 bits in the runtime's kernels as well. A layer that is left out
# or a scale of another block is above 0.1.
MOST_FLOAT, MOST_INTEGER = 1e-4, 3e-2
WRITTEN = 24  # tokens that the library writes
# Nats by which a token of the library may be below the likeliest. The library may choose other kernels than the engine
# alone: in integers those round activations and the cache; another network, or a lost cache, is nats away.
CLOSE, CLOSE_INTEGER = 0.1, 0.5
_REPORT = "Report this with the model's config.json and the versions of `edgepress doctor`."


def proven_text(
    source: DecoderSource, rounding: Rounding, golden: Judge, decoding: Decoding, *, itself: bool = True
) -> tuple[TextGolden, float]:
    """What a device will be held to, and how far the engine is from what its own weights say in torch, nats a token.

    The engine reads the golden text once for both.

    Args:
        itself: it is the engine; a graph that runs in its stead rounds no activations.

    Raises:
        VerificationError: too far.
    """
    said = by_weights(source.decoder, rounding.weights, golden.windows)
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


def same_as_library(engine: Engine, decoding: Decoding, window: Tokens, context: int, threads: int) -> tuple[Gap, ...]:
    """Whether the vendor's library writes what the engine holds likeliest; why it was not tried, where it was not.

    Args:
        window: some tokens of a text; the first half is read.
        context: positions that the engine takes.

    Raises:
        VerificationError: it writes something else.
    """
    prompt = [int(token) for token in window[: max(1, len(window) // 2)]]
    count = min(WRITTEN, context - len(prompt))
    written: list[int] = []
    try:
        with load_backend(engine.backend).generate(engine, threads) as generation:
            generation.run(prompt, count, written.append)
    except UnservedError as error:
        return (Gap(about="run", why=f"The library that writes text was not tried: {error.message}"),)
    if len(written) != count:
        raise VerificationError(
            f"The runtime's library wrote {len(written)} tokens where {count} were asked for.", hint=_REPORT
        )
    logits = _step_by_step(decoding, prompt, written)
    below = logits.max(-1) - logits[np.arange(count), written]
    close = CLOSE_INTEGER if load_precision(engine.precision).integer else CLOSE
    if not below.max() <= close:
        raise VerificationError(
            f"The runtime's library does not write what the engine holds likeliest: token {int(below.argmax()) + 1} of "
            f"{count} is {below.max():.2f} nats less likely.",
            hint=_REPORT,
        )
    return ()


def _step_by_step(decoding: Decoding, prompt: list[int], written: list[int]) -> Logits:
    """Logits before each token that was written, of shape (written, vocabulary), one token at a time as it was."""
    decoding.reset()
    found = [decoding(np.array([prompt], dtype=np.int64))[0, -1]]
    found += [decoding(np.array([[token]], dtype=np.int64))[0, -1] for token in written[:-1]]
    return np.stack(found)
