"""A decoder whose graph gives its cache out: what goes into the next run is what came out of the last."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ..errors import InputError
from .base import Array, Session, TensorSpec
from .decoding import Decoding, Logits, Tokens

_PAST, _PRESENT = "past_key_values", "present"


class FedBack(Decoding):
    """An open engine of tokens and `past_key_values.*` that gives `logits` and `present.*`; it is closed with this.

    Every run hands the whole cache over twice: for proof, not for speed.

    Args:
        inputs: of the engine; the first of them are the tokens.
    """

    def __init__(self, session: Session, inputs: Sequence[TensorSpec]) -> None:
        self._session, self._tokens, self._specs = session, inputs[0].name, inputs[1:]
        self._cache: dict[str, Array] = {}

    def __call__(self, tokens: Tokens) -> Logits:
        """Logits of shape (batch, count, vocabulary)."""
        if tokens.ndim != 2 or not tokens.size:
            raise InputError(f"Tokens have shape {tokens.shape}; expected (batch, count), neither of them 0.")
        cache = self._cache or {spec.name: _empty(spec, len(tokens)) for spec in self._specs}
        batch = len(next(iter(cache.values())))
        if len(tokens) != batch:
            raise InputError(f"The tokens are a batch of {len(tokens)} behind one of {batch}.")
        given = self._session({self._tokens: np.ascontiguousarray(tokens, dtype=np.int64), **cache})
        self._cache = {name: given[name.replace(_PAST, _PRESENT)] for name in cache}
        return np.asarray(given["logits"], dtype=np.float32)

    def reset(self) -> None:
        """Forget all tokens."""
        self._cache = {}

    def close(self) -> None:
        """Close the engine."""
        self.reset()
        self._session.close()


def _empty(spec: TensorSpec, batch: int) -> Array:
    """A cache of no positions: axes are batch, heads, positions, size."""
    _, heads, _, size = spec.shape
    return np.zeros((batch, int(heads), 0, int(size)), dtype=spec.dtype)
