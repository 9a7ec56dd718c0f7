"""What a decoder's engine writes greedily behind a prompt: by the vendor's library, or by the engine alone."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ...backends.base import Engine
from ...backends.decoding import Decoding, Tokens
from ...backends.registry import load_backend
from ...errors import UnservedError, VerificationError
from .read_alike import Readings

# Tokens that are written; and where nothing hangs on what text loses.
WRITTEN, FEW_WRITTEN = 256, 24


@dataclass(frozen=True, slots=True, kw_only=True)
class WrittenText:
    """Tokens that were written greedily behind others.

    Attributes:
        why_not: why the library was not tried, a sentence; empty where it wrote them.
        misread: what to say of sentences that its tokenizer reads otherwise, a sentence; empty where it does not.
    """

    prompt: tuple[int, ...]
    tokens: tuple[int, ...]
    why_not: str = ""
    misread: str = ""

    @property
    def read(self) -> Tokens:
        """What another decoder reads to say what it holds likeliest in place of each token; of shape (1, count)."""
        return np.array([[*self.prompt, *self.tokens[:-1]]], dtype=np.int64)


def by_library(
    engine: Engine,
    window: Tokens,
    context: int,
    threads: int,
    *,
    most: int = WRITTEN,
    readings: Readings | None = None,
) -> WrittenText:
    """What the vendor's library writes; no tokens, and why, where it is not installed.

    Args:
        window: some tokens of a text; the first half is read.
        context: positions that the engine takes.
        readings: what its tokenizer is held to; None where there is none.

    Raises:
        VerificationError: it writes fewer tokens than it was asked for, or its tokenizer does not know some.
    """
    prompt, count = _asked(window, context, most)
    written: list[int] = []
    misread = ""
    try:
        with load_backend(engine.backend).generate(engine, threads) as generation:
            generation.run(prompt, count, written.append)
            misread = "" if readings is None else readings.held(generation)
    except UnservedError as error:
        why = f"The library that writes text was not tried: {error.message}"
        return WrittenText(prompt=tuple(prompt), tokens=(), why_not=why)
    if len(written) != count:
        raise VerificationError(
            f"The runtime's library wrote {len(written)} tokens where {count} were asked for.",
            hint="Report this with the model's config.json and the versions of `edgepress doctor`.",
        )
    return WrittenText(prompt=tuple(prompt), tokens=tuple(written), misread=misread)


def by_engine(decoding: Decoding, window: Tokens, context: int, *, most: int = WRITTEN) -> WrittenText:
    """What the engine alone writes, its cache fed back; otherwise as `by_library`."""
    prompt, count = _asked(window, context, most)
    decoding.reset()
    written: list[int] = []
    given = prompt
    for _ in range(count):
        written.append(int(decoding(np.array([given], dtype=np.int64))[0, -1].argmax()))
        given = written[-1:]
    return WrittenText(prompt=tuple(prompt), tokens=tuple(written))


def _asked(window: Tokens, context: int, most: int) -> tuple[list[int], int]:
    prompt = [int(token) for token in window[: max(1, len(window) // 2)]]
    return prompt, min(most, context - len(prompt))
