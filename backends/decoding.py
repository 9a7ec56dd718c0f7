"""The interface of an open decoder: what it thinks of each token, and what it writes.

`Decoding` is the engine alone, on the runtime; it is what a proof asks. `Generation` is the vendor's own library on the
same files, as people use it; it is what is timed and what `edgepress generate` shows.
"""

from __future__ import annotations

import abc
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import TypeVar

import numpy as np
import numpy.typing as npt

Tokens = npt.NDArray[np.int64]
Logits = npt.NDArray[np.float32]
Self = TypeVar("Self", bound="_Open")


class _Open:
    """A context manager that releases the runtime."""

    def close(self) -> None:
        """Release what the runtime holds."""

    def __enter__(self: Self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class Decoding(_Open, abc.ABC):
    """An open decoder with a cache of keys and values, empty at first."""

    @abc.abstractmethod
    def __call__(self, tokens: Tokens) -> Logits:
        """Logits after each of these tokens, which follow those that were given before.

        Args:
            tokens: of shape (batch, count); the batch is that of the tokens before.

        Returns:
            Of shape (batch, count, vocabulary), float32, the caller's own.
        """

    @abc.abstractmethod
    def reset(self) -> None:
        """Forget all tokens."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sampling:
    """How the next token is chosen; greedily by default.

    Attributes:
        temperature: 0 is greedy.
        top_k: most likely tokens that are chosen among; 0 is all.
        top_p: share of the probability that is chosen from.
    """

    temperature: float = 0.0
    top_k: int = 0
    top_p: float = 1.0
    seed: int = 0


class Generation(_Open, abc.ABC):
    """The vendor's own library with a directory open."""

    @abc.abstractmethod
    def encode(self, text: str) -> list[int]:
        """The tokens of a text, with those that the tokenizer adds."""

    @abc.abstractmethod
    def prompt(self, messages: Sequence[Mapping[str, str]]) -> str | None:
        """A conversation in the words of the model's own template; None where it has none.

        Args:
            messages: `{"role": ..., "content": ...}` each.
        """

    @abc.abstractmethod
    def run(self, prompt: Sequence[int], most: int, each: Callable[[int], None]) -> None:
        """Exactly `most` tokens after these, greedily, past any end of text; `each` is called as each token is there.

        For proof and for timing: from the call to the first `each` is the time to the first token.
        """

    @abc.abstractmethod
    def write(self, prompt: Sequence[int], most: int, each: Callable[[str], None], sampling: Sampling) -> int:
        """Text after these tokens, at most so many, until an end of text; pieces go to `each` as they come.

        Returns:
            How many tokens were written.
        """
