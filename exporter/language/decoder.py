"""A decoder as a value: its layers, how they compute, and which tensors of the checkpoint they take.

Every transformer that writes text from left to right with a cache of keys and values is described by it; `network` says
in which order the parts compute, once for every runtime.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

Activation = Literal["silu", "gelu", "gelu_tanh", "relu", "relu2"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Tensor:
    """A tensor of the checkpoint, or some rows of one, as a float32 array.

    Attributes:
        name: in the checkpoint.
        rows: of the tensor (of the transposed one, where it is): from which one on, and before which one they end.
        every: `rows` are counted anew in each of so many rows, and all of them are meant, one behind the other; 0 is
            once. GPT-NeoX has query, key and value of one head side by side.
        transposed: the checkpoint has it as (inputs, outputs); it is turned.
        plus: added to every value; Gemma's norms store their weight less 1.
    """

    name: str
    rows: tuple[int, int] | None = None
    every: int = 0
    transposed: bool = False
    plus: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Linear:
    """y = x W^T + b, with W of shape (outputs, inputs).

    Attributes:
        name: path in the network, `layers.3.attention.query`; what a report and a plan of grids call it.
        reads: name of what it takes; layers that take the same values have the same, and share statistics of them.
    """

    name: str
    weight: Tensor
    inputs: int
    outputs: int
    reads: str
    bias: Tensor | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Norm:
    """A norm over the last axis: RMS, x / rms(x) * weight, or LayerNorm. Without a weight it only divides."""

    name: str
    kind: Literal["rms", "layer"]
    epsilon: float
    weight: Tensor | None
    bias: Tensor | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Rotary:
    """Rotary position embedding (Su et al., 2021) of the first `2 * len(frequencies)` values of each head.

    Value i turns with value i + n (halves, as GPT-NeoX and Llama have it), or 2i with 2i + 1 where `interleaved`.

    Attributes:
        frequencies: radians a position, by pair.
        factor: of sine and cosine; 1 but for some extended contexts.
    """

    frequencies: tuple[float, ...]
    factor: float = 1.0
    interleaved: bool = False

    @property
    def dimensions(self) -> int:
        """How many values of a head are turned."""
        return 2 * len(self.frequencies)


@dataclass(frozen=True, slots=True, kw_only=True)
class Attention:
    """Causal attention of `heads` queries on `kv_heads` keys and values, each of `head_size` values.

    Attributes:
        query_norm, key_norm: over each head, or over all heads at once where `norm_heads` is false; before turning.
        scale: of the products of queries and keys.
        window: how many positions back are seen, the present one among them; None is all.
        softcap: c of c * tanh(products / c); 0 is none.
        rotary: None where positions are told otherwise, or not at all.
    """

    query: Linear
    key: Linear
    value: Linear
    output: Linear
    heads: int
    kv_heads: int
    head_size: int
    scale: float
    rotary: Rotary | None
    query_norm: Norm | None = None
    key_norm: Norm | None = None
    norm_heads: bool = True
    window: int | None = None
    softcap: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class FeedForward:
    """down(activation(gate(x)) * up(x)), or down(activation(up(x))) without a gate."""

    up: Linear
    down: Linear
    activation: Activation
    gate: Linear | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class DecoderLayer:
    """x + attention(norm(x)), then + feed_forward(norm(.)); in `parallel` both take x.

    Attributes:
        before_attention, before_feed_forward: norms of what the parts take; None takes it as it is. A parallel layer
            without a second one gives both parts the same.
        after_attention, after_feed_forward: norms of what the parts give, before it is added.
        residual: factor of what is added.
    """

    index: int
    attention: Attention
    feed_forward: FeedForward
    before_attention: Norm | None
    before_feed_forward: Norm | None
    after_attention: Norm | None = None
    after_feed_forward: Norm | None = None
    parallel: bool = False
    residual: float = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Decoder:
    """A whole decoder.

    Attributes:
        kind: `model_type` of its configuration.
        context: positions that it was trained for.
        embedding: one row a token, of shape (vocabulary, width).
        embedding_scale: factor of a row.
        positions: one row a position, added to the token's; None where positions are told otherwise.
        position_offset: first row of `positions` that a position is at.
        embedding_norm: behind both.
        head: logits; its weight is the embedding itself in a tied model.
        logit_scale: factor of the logits.
        softcap: of the logits, as in `Attention`.
        bos, eos, pad: tokens that begin, end and fill; None and empty where there are none.
    """

    kind: str
    vocabulary: int
    width: int
    context: int
    embedding: Tensor
    layers: tuple[DecoderLayer, ...]
    norm: Norm | None
    head: Linear
    embedding_scale: float = 1.0
    positions: Tensor | None = None
    position_offset: int = 0
    embedding_norm: Norm | None = None
    logit_scale: float = 1.0
    softcap: float = 0.0
    bos: int | None = None
    eos: tuple[int, ...] = ()
    pad: int | None = None

    @property
    def tied(self) -> bool:
        """The head's weight is the table of the embedding."""
        return self.head.weight == self.embedding

    def linears(self) -> Iterator[Linear]:
        """Every linear layer in order, the head last."""
        for layer in self.layers:
            yield from linears_of(layer)
        yield self.head

    @property
    def parameters(self) -> int:
        """How many weights its tables and linear layers have; norms and biases do not count."""
        table = self.vocabulary * self.width
        linear = sum(each.inputs * each.outputs for each in self.linears())
        return linear + (0 if self.tied else table)


def linears_of(layer: DecoderLayer) -> Iterator[Linear]:
    """The linear layers of a layer, in order."""
    attention, feed_forward = layer.attention, layer.feed_forward
    yield from (attention.query, attention.key, attention.value, attention.output)
    if feed_forward.gate is not None:
        yield feed_forward.gate
    yield from (feed_forward.up, feed_forward.down)
