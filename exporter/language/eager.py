"""A decoder computed by torch, step by step, with the weights that it is given: one runtime among others.

A layer's weights live while they are used. Values have the axes (batch, positions, width); every text of the batch
begins at position 0 and no cache is kept.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch.nn import functional

from ...backends.decoding import Tokens
from .decoder import Activation, Attention, Decoder, Linear, Norm, Rotary, Tensor
from .network import write
from .weights import DecoderWeights, Floats, Integers

_ACTIVATIONS: dict[Activation, Callable[[torch.Tensor], torch.Tensor]] = {
    "silu": functional.silu,
    "gelu": functional.gelu,
    "gelu_tanh": lambda x: functional.gelu(x, approximate="tanh"),
    "relu": functional.relu,
    "relu2": lambda x: functional.relu(x).square(),
}


def logits(decoder: Decoder, weights: DecoderWeights, tokens: Tokens) -> Floats:
    """Logits after each token, of shape (batch, positions, vocabulary), float32."""
    with torch.no_grad():
        return np.asarray(write(decoder, Eager(weights, tokens)).numpy())


def by_weights(decoder: Decoder, weights: DecoderWeights, texts: Sequence[Tokens]) -> list[Floats]:
    """Logits of texts of any lengths, of shape (positions, vocabulary) each; a matrix is asked for once for all."""
    lengths = [len(text) for text in texts]
    row = np.concatenate(texts)[None]
    with torch.no_grad():
        found = np.asarray(write(decoder, Eager(weights, row, lengths)).numpy())[0]
    return np.split(found, np.cumsum(lengths)[:-1])


class Eager:
    """The `Writer` that computes at once."""

    def __init__(self, weights: DecoderWeights, tokens: Tokens, lengths: Sequence[int] = ()) -> None:
        """Compute with these weights for these tokens, of shape (batch, positions).

        Args:
            lengths: of texts that stand one behind another in a row; by default a row is one text.
        """
        self.weights = weights
        self.tokens = torch.from_numpy(np.ascontiguousarray(tokens, dtype=np.int64))
        self.lengths = list(lengths) or [self.tokens.shape[1]]

    def embed(self, decoder: Decoder) -> torch.Tensor:
        """As `Writer`."""
        x = torch.from_numpy(_rows(self.weights.table(), self.tokens.numpy())) * decoder.embedding_scale
        if decoder.positions is None:
            return x
        table = self.vector(decoder.positions)[decoder.position_offset :]
        return x + torch.cat([table[:length] for length in self.lengths])

    def norm(self, x: torch.Tensor, norm: Norm) -> torch.Tensor:
        """As `Writer`."""
        shape = (x.shape[-1],)
        weight = None if norm.weight is None else self.vector(norm.weight)
        bias = None if norm.bias is None else self.vector(norm.bias)
        if norm.kind == "layer":
            return functional.layer_norm(x, shape, weight, bias, norm.epsilon)
        normed = functional.rms_norm(x, shape, weight, norm.epsilon)
        return normed if bias is None else normed + bias

    def linear(self, x: torch.Tensor, linear: Linear) -> torch.Tensor:
        """As `Writer`."""
        bias = None if linear.bias is None else self.vector(linear.bias)
        return functional.linear(x, self.matrix(linear), bias)

    def attend(
        self, query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, attention: Attention, index: int
    ) -> torch.Tensor:
        """As `Writer`."""
        query = self._headed(query, attention, attention.query_norm)
        key = self._headed(key, attention, attention.key_norm)
        parts = [torch.split(each, self.lengths, 2) for each in (query, key, self._headed(value, attention, None))]
        texts = [self._side_by_side(q, k, v, attention) for q, k, v in zip(*parts, strict=True)]
        return torch.cat(texts, dim=1)

    def activate(self, x: torch.Tensor, kind: Activation) -> torch.Tensor:
        """As `Writer`."""
        return _ACTIVATIONS[kind](x)

    def multiply(self, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        """As `Writer`."""
        return x * y

    def add(self, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        """As `Writer`."""
        return x + y

    def scale(self, x: torch.Tensor, factor: float) -> torch.Tensor:
        """As `Writer`."""
        return x * factor

    def cap(self, x: torch.Tensor, softcap: float) -> torch.Tensor:
        """As `Writer`."""
        return softcap * torch.tanh(x / softcap)

    def vector(self, tensor: Tensor) -> torch.Tensor:
        """A norm's weight, a bias or a table of positions."""
        return torch.from_numpy(self.weights.array(tensor))

    def matrix(self, linear: Linear) -> torch.Tensor:
        """The weight of a linear layer in float32."""
        found = self.weights.matrix(linear)
        return torch.from_numpy(found.floats() if isinstance(found, Integers) else found)

    def _headed(self, x: torch.Tensor, attention: Attention, norm: Norm | None) -> torch.Tensor:
        """(batch, positions, width) as (batch, heads, positions, head_size), normed."""
        if norm is not None and not attention.norm_heads:
            x = self.norm(x, norm)
        x = x.reshape(*x.shape[:-1], -1, attention.head_size)
        if norm is not None and attention.norm_heads:
            x = self.norm(x, norm)
        return x.transpose(1, 2)

    def _side_by_side(
        self, query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, attention: Attention
    ) -> torch.Tensor:
        """Of one text in each row. One by one: what is needed beside the result grows with the square of positions."""
        query, key = self._turned(query, attention.rotary), self._turned(key, attention.rotary)
        return torch.cat([_attended(*each, attention) for each in zip(query, key, value, strict=True)])

    @staticmethod
    def _turned(x: torch.Tensor, rotary: Rotary | None) -> torch.Tensor:
        if rotary is None:
            return x
        angles = torch.arange(x.shape[-2])[:, None] * torch.tensor(rotary.frequencies, dtype=torch.float32)
        cosine, sine = angles.cos() * rotary.factor, angles.sin() * rotary.factor
        part, rest = x[..., : rotary.dimensions], x[..., rotary.dimensions :]
        if rotary.interleaved:
            one, other = part[..., ::2], part[..., 1::2]
        else:
            one, other = part.chunk(2, dim=-1)
        turned = (one * cosine - other * sine, other * cosine + one * sine)
        joined = torch.stack(turned, dim=-1).flatten(-2) if rotary.interleaved else torch.cat(turned, dim=-1)
        return torch.cat((joined, rest), dim=-1)


def _attended(query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, attention: Attention) -> torch.Tensor:
    """Of one text: (heads, positions, head_size) to (1, positions, heads * head_size)."""
    times = attention.heads // attention.kv_heads
    key, value = key.repeat_interleave(times, dim=0), value.repeat_interleave(times, dim=0)
    if attention.softcap or attention.window is not None:
        products = query @ key.transpose(-1, -2) * attention.scale
        if attention.softcap:
            products = attention.softcap * torch.tanh(products / attention.softcap)
        found = products.masked_fill(_unseen(query.shape[1], attention.window), -torch.inf).softmax(-1) @ value
    else:
        four = (query[None], key[None], value[None])
        found = functional.scaled_dot_product_attention(*four, is_causal=True, scale=attention.scale)[0]
    return found.transpose(0, 1).flatten(1)[None]


def _unseen(count: int, window: int | None) -> torch.Tensor:
    position = torch.arange(count)
    back = position[:, None] - position
    return (back < 0) if window is None else (back < 0) | (back >= window)


def _rows(table: Floats | Integers, tokens: Tokens) -> Floats:
    """Rows of the table by token, of shape (batch, positions, width)."""
    if not isinstance(table, Integers):
        return np.asarray(table[tokens])
    flat = tokens.reshape(-1)
    zeros = None if table.zeros is None else table.zeros[flat]
    some = Integers(grid=table.grid, codes=table.codes[flat], scales=table.scales[flat], zeros=zeros)
    return some.floats().reshape(*tokens.shape, -1)
