"""Small decoders with drawn weights, of every feature that a decoder may have."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from edgepress.exporter.language.decoder import (
    Attention,
    Decoder,
    DecoderLayer,
    FeedForward,
    Linear,
    Norm,
    Rotary,
    Tensor,
)

Floats = npt.NDArray[np.float32]
WIDTH, HIDDEN, WORDS, CONTEXT = 64, 96, 101, 64


@dataclass(kw_only=True)
class Toy:
    """Draws the tensors of a decoder as its parts are described.

    Attributes:
        kind: of its norms.
        biased: its linear layers have biases.
    """

    seed: int = 0
    kind: Any = "rms"
    biased: bool = False
    width: int = WIDTH
    state: dict[str, Floats] = field(default_factory=dict)

    def array(self, tensor: Tensor) -> Floats:
        """As `Checkpoint`; none of these tensors is turned, cut or added to."""
        return self.state[tensor.name].copy()

    def tensor(self, name: str, *shape: int, spread: float = 1.0, middle: float = 0.0) -> Tensor:
        rng = np.random.default_rng([self.seed, *name.encode()])
        self.state[name] = (middle + spread * rng.standard_normal(shape)).astype(np.float32)
        return Tensor(name=name)

    def linear(self, name: str, inputs: int, outputs: int, reads: str) -> Linear:
        bias = self.tensor(f"{name}.bias", outputs, spread=0.3) if self.biased else None
        weight = self.tensor(f"{name}.weight", outputs, inputs, spread=1.5 * inputs**-0.5)
        return Linear(name=name, weight=weight, inputs=inputs, outputs=outputs, reads=reads, bias=bias)

    def norm(self, name: str, width: int, *, plain: bool = False) -> Norm:
        weight = None if plain else self.tensor(f"{name}.weight", width, spread=0.3, middle=1.0)
        bias = self.tensor(f"{name}.bias", width, spread=0.3) if self.kind == "layer" and not plain else None
        return Norm(name=name, kind=self.kind, epsilon=1e-5, weight=weight, bias=bias)

    def attention(
        self, i: int, heads: int = 4, kv: int = 2, size: int = 16, norms: str = "", **given: Any
    ) -> Attention:
        path = f"layers.{i}.attention"
        widths = (size, size) if norms != "whole" else (heads * size, kv * size)
        options: dict[str, Any] = {"scale": size**-0.5, "rotary": turns(size)}
        if norms:
            options["query_norm"] = self.norm(f"{path}.query_norm", widths[0])
            options["key_norm"] = self.norm(f"{path}.key_norm", widths[1])
            options["norm_heads"] = norms == "heads"
        return Attention(
            query=self.linear(f"{path}.query", self.width, heads * size, f"{i}.a"),
            key=self.linear(f"{path}.key", self.width, kv * size, f"{i}.a"),
            value=self.linear(f"{path}.value", self.width, kv * size, f"{i}.a"),
            output=self.linear(f"{path}.output", heads * size, self.width, f"{i}.b"),
            heads=heads,
            kv_heads=kv,
            head_size=size,
            **{**options, **given},
        )

    def feed_forward(self, i: int, *, gated: bool = True, activation: Any = "silu") -> FeedForward:
        path = f"layers.{i}.feed_forward"
        gate = self.linear(f"{path}.gate", self.width, HIDDEN, f"{i}.c") if gated else None
        return FeedForward(
            gate=gate,
            up=self.linear(f"{path}.up", self.width, HIDDEN, f"{i}.c"),
            down=self.linear(f"{path}.down", HIDDEN, self.width, f"{i}.d"),
            activation=activation,
        )

    def layer(
        self,
        i: int,
        *,
        attention: Mapping[str, Any] | None = None,
        feed_forward: Mapping[str, Any] | None = None,
        after: bool = False,
        **given: Any,
    ) -> DecoderLayer:
        path = f"layers.{i}"
        options: dict[str, Any] = {
            "before_attention": self.norm(f"{path}.before_attention", self.width),
            "before_feed_forward": self.norm(f"{path}.before_feed_forward", self.width),
        }
        if after:
            options["after_attention"] = self.norm(f"{path}.after_attention", self.width)
            options["after_feed_forward"] = self.norm(f"{path}.after_feed_forward", self.width)
        return DecoderLayer(
            index=i,
            attention=self.attention(i, **(attention or {})),
            feed_forward=self.feed_forward(i, **(feed_forward or {})),
            **{**options, **given},
        )

    def decoder(
        self, *, layers: int = 2, tied: bool = True, places: int = 0, layer: Any = None, **given: Any
    ) -> Decoder:
        embedding = self.tensor("embedding", WORDS, self.width, spread=0.6)
        head = self.linear("head", self.width, WORDS, "norm")
        head = Linear(
            name="head",
            weight=embedding if tied else head.weight,
            inputs=self.width,
            outputs=WORDS,
            reads="norm",
            bias=head.bias,
        )
        positions = self.tensor("positions", CONTEXT + places, self.width, spread=0.5) if places else None
        options: dict[str, Any] = {
            "kind": "llama",
            "vocabulary": WORDS,
            "width": self.width,
            "context": CONTEXT,
            "embedding": embedding,
            "layers": tuple(self.layer(i, **(layer or {})) for i in range(layers)),
            "norm": self.norm("norm", self.width),
            "head": head,
            "positions": positions,
            "eos": (0,),
        }
        return Decoder(**{**options, **given})


def turns(size: int, share: float = 1.0, **given: Any) -> Rotary:
    """Rotary embedding of a share of a head."""
    pairs = int(size * share) // 2
    return Rotary(frequencies=tuple((100.0 ** (-np.arange(pairs) / pairs)).tolist()), **given)
