"""A decoder's description carried out by plain torch, with a cache: what each runtime's writer must agree with."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import torch
from torch.nn import functional

from edgepress.exporter.language.decoder import Activation, Attention, Decoder, Linear, Norm, Rotary, Tensor
from edgepress.exporter.language.network import write
from edgepress.exporter.language.weights import TensorSource

ACTIVATIONS = {
    "silu": functional.silu,
    "gelu": functional.gelu,
    "gelu_tanh": lambda x: functional.gelu(x, approximate="tanh"),
    "relu": functional.relu,
    "relu2": lambda x: functional.relu(x) ** 2,
}


class TorchWriter:
    """Computes each step at once; keys and values of all calls are kept."""

    def __init__(self, checkpoint: TensorSource) -> None:
        self.checkpoint = checkpoint
        self.keys: dict[int, torch.Tensor] = {}
        self.values: dict[int, torch.Tensor] = {}
        self.past, self.tokens = 0, torch.zeros(0, 0, dtype=torch.long)

    def run(self, decoder: Decoder, tokens: npt.NDArray[np.int64]) -> npt.NDArray[np.float32]:
        """Logits after these tokens, which follow those before."""
        self.tokens = torch.from_numpy(tokens)
        logits = write(decoder, self)
        self.past += tokens.shape[1]
        return logits.numpy()

    def tensor(self, tensor: Tensor) -> torch.Tensor:
        return torch.from_numpy(self.checkpoint.array(tensor))

    def embed(self, decoder: Decoder) -> torch.Tensor:
        x = self.tensor(decoder.embedding)[self.tokens] * decoder.embedding_scale
        if decoder.positions is not None:
            first = self.past + decoder.position_offset
            x = x + self.tensor(decoder.positions)[first : first + self.tokens.shape[1]]
        return x

    def norm(self, x: torch.Tensor, norm: Norm) -> torch.Tensor:
        if norm.kind == "layer":
            x = x - x.mean(-1, keepdim=True)
        x = x / torch.sqrt((x**2).mean(-1, keepdim=True) + norm.epsilon)
        x = x if norm.weight is None else x * self.tensor(norm.weight)
        return x if norm.bias is None else x + self.tensor(norm.bias)

    def linear(self, x: torch.Tensor, linear: Linear) -> torch.Tensor:
        weight = self.tensor(linear.weight)
        assert weight.shape == (linear.outputs, linear.inputs)
        y = x @ weight.T
        return y if linear.bias is None else y + self.tensor(linear.bias)

    def attend(
        self, query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, attention: Attention, index: int
    ) -> torch.Tensor:
        batch, count, _ = query.shape
        q, k = self._normed(query, attention.query_norm, attention), self._normed(key, attention.key_norm, attention)
        q, k, v = (self._heads(x, attention) for x in (q, k, value))
        if attention.rotary is not None:
            q, k = self._turned(q, attention.rotary), self._turned(k, attention.rotary)
        k, v = torch.cat([*self._before(self.keys, index), k], 2), torch.cat([*self._before(self.values, index), v], 2)
        self.keys[index], self.values[index] = k, v
        group = attention.heads // attention.kv_heads
        products = q @ k.repeat_interleave(group, 1).mT * attention.scale
        products = self.cap(products, attention.softcap) if attention.softcap else products
        back = torch.arange(self.past, self.past + count)[:, None] - torch.arange(self.past + count)
        seen = (back >= 0) & (back < (attention.window or 1 << 30))
        mixed = products.masked_fill(~seen, -torch.inf).softmax(-1) @ v.repeat_interleave(group, 1)
        return mixed.transpose(1, 2).reshape(batch, count, -1)

    def activate(self, x: torch.Tensor, kind: Activation) -> torch.Tensor:
        return ACTIVATIONS[kind](x)

    def multiply(self, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        return x * y

    def add(self, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        return x + y

    def scale(self, x: torch.Tensor, factor: float) -> torch.Tensor:
        return x * factor

    def cap(self, x: torch.Tensor, softcap: float) -> torch.Tensor:
        return softcap * torch.tanh(x / softcap)

    def _normed(self, x: torch.Tensor, norm: Norm | None, attention: Attention) -> torch.Tensor:
        if norm is None:
            return x
        if not attention.norm_heads:
            return self.norm(x, norm)
        return self.norm(x.unflatten(-1, (-1, attention.head_size)), norm).flatten(-2)

    def _heads(self, x: torch.Tensor, attention: Attention) -> torch.Tensor:
        return x.unflatten(-1, (-1, attention.head_size)).transpose(1, 2)

    def _before(self, cache: dict[int, torch.Tensor], index: int) -> list[torch.Tensor]:
        return [cache[index]] if index in cache else []

    def _turned(self, x: torch.Tensor, rotary: Rotary) -> torch.Tensor:
        positions = torch.arange(self.past, self.past + x.shape[2], dtype=torch.float32)
        angles = positions[:, None] * torch.tensor(rotary.frequencies, dtype=torch.float32)
        sine, cosine = angles.sin() * rotary.factor, angles.cos() * rotary.factor
        turned, rest = x[..., : rotary.dimensions], x[..., rotary.dimensions :]
        if rotary.interleaved:
            one, other = turned[..., ::2], turned[..., 1::2]
            both = torch.stack([one * cosine - other * sine, other * cosine + one * sine], -1).flatten(-2)
        else:
            one, other = turned.chunk(2, -1)
            both = torch.cat([one * cosine - other * sine, other * cosine + one * sine], -1)
        return torch.cat([both, rest], -1)
