"""A decoder computed by numpy in float64, step by step as `network` says: what a runtime's logits are held against."""

from __future__ import annotations

from collections.abc import Callable
from math import erf

import numpy as np
import numpy.typing as npt

from edgepress.exporter.language.decoder import Activation, Attention, Decoder, Linear, Norm, Rotary
from edgepress.exporter.language.network import write
from edgepress.exporter.language.weights import DecoderWeights, Matrix

Value = npt.NDArray[np.float64]
_ACTIVATIONS: dict[Activation, Callable[[Value], Value]] = {
    "silu": lambda x: x / (1 + np.exp(-x)),
    "gelu": lambda x: x * (1 + np.vectorize(erf)(x / np.sqrt(2))) / 2,
    "gelu_tanh": lambda x: x * (1 + np.tanh(np.sqrt(2 / np.pi) * (x + 0.044715 * x**3))) / 2,
    "relu": lambda x: np.maximum(x, 0),
    "relu2": lambda x: np.maximum(x, 0) ** 2,
}


def computed(decoder: Decoder, weights: DecoderWeights, tokens: npt.NDArray[np.int64]) -> Value:
    """Logits after each token, of shape (batch, positions, vocabulary)."""
    return write(decoder, Numbers(decoder, weights, tokens))


class Numbers:
    """Values are arrays; nothing is kept between calls."""

    def __init__(self, decoder: Decoder, weights: DecoderWeights, tokens: npt.NDArray[np.int64]) -> None:
        self._weights, self._tokens = weights, tokens

    def embed(self, decoder: Decoder) -> Value:
        x = _floats(self._weights.table())[self._tokens] * decoder.embedding_scale
        if decoder.positions is not None:
            places = np.arange(self._tokens.shape[1]) + decoder.position_offset
            x = x + self._weights.array(decoder.positions)[places]
        return np.asarray(x, dtype=np.float64)

    def norm(self, x: Value, norm: Norm) -> Value:
        if norm.kind == "layer":
            x = x - x.mean(axis=-1, keepdims=True)
        x = x / np.sqrt((x**2).mean(axis=-1, keepdims=True) + norm.epsilon)
        if norm.weight is not None:
            x = x * self._weights.array(norm.weight)
        return x if norm.bias is None else x + self._weights.array(norm.bias)

    def linear(self, x: Value, linear: Linear) -> Value:
        product = x @ _floats(self._weights.matrix(linear)).T
        return product if linear.bias is None else product + self._weights.array(linear.bias)

    def attend(self, query: Value, key: Value, value: Value, attention: Attention, index: int) -> Value:
        q, k, v = (self._heads(x, attention, norm) for x, norm in (
            (query, attention.query_norm), (key, attention.key_norm), (value, None)
        ))  # fmt: skip
        if attention.rotary is not None:
            q, k = turned(q, attention.rotary), turned(k, attention.rotary)
        share = attention.heads // attention.kv_heads
        k, v = np.repeat(k, share, axis=1), np.repeat(v, share, axis=1)
        products = q @ k.transpose(0, 1, 3, 2) * attention.scale
        if attention.softcap:
            products = attention.softcap * np.tanh(products / attention.softcap)
        places = np.arange(q.shape[2])
        back = places[:, None] - places
        seen = (back >= 0) & (back < (attention.window or len(places)))
        products = np.where(seen, products, -np.inf)
        shares = np.exp(products - products.max(axis=-1, keepdims=True))
        attended = (shares / shares.sum(axis=-1, keepdims=True)) @ v
        return attended.transpose(0, 2, 1, 3).reshape(*query.shape)

    def _heads(self, x: Value, attention: Attention, norm: Norm | None) -> Value:
        if norm is not None and not attention.norm_heads:
            x = self.norm(x, norm)
        x = x.reshape(*x.shape[:2], -1, attention.head_size)
        if norm is not None and attention.norm_heads:
            x = self.norm(x, norm)
        return x.transpose(0, 2, 1, 3)

    def activate(self, x: Value, kind: Activation) -> Value:
        return _ACTIVATIONS[kind](x)

    def multiply(self, x: Value, y: Value) -> Value:
        return x * y

    def add(self, x: Value, y: Value) -> Value:
        return x + y

    def scale(self, x: Value, factor: float) -> Value:
        return x * factor

    def cap(self, x: Value, softcap: float) -> Value:
        return softcap * np.tanh(x / softcap)


def turned(x: Value, rotary: Rotary) -> Value:
    """Rotary embedding of (batch, heads, positions, size)."""
    angles = np.arange(x.shape[2])[:, None] * np.asarray(rotary.frequencies)
    cosine, sine = np.cos(angles) * rotary.factor, np.sin(angles) * rotary.factor
    size = rotary.dimensions
    halves = (
        (slice(0, size, 2), slice(1, size, 2)) if rotary.interleaved else (slice(0, size // 2), slice(size // 2, size))
    )
    first, second = x[..., halves[0]], x[..., halves[1]]
    y = x.copy()
    y[..., halves[0]], y[..., halves[1]] = first * cosine - second * sine, second * cosine + first * sine
    return y


def _floats(matrix: Matrix) -> Value:
    return np.asarray(matrix if isinstance(matrix, np.ndarray) else matrix.floats(), dtype=np.float64)
