"""In which order a decoder computes, said once for every runtime.

A writer knows how each step is said to one runtime; `V` is what it calls a value: a name in an ONNX graph, an output of
an OpenVINO node.
"""

from __future__ import annotations

from typing import Protocol, TypeVar

from .decoder import Activation, Attention, Decoder, DecoderLayer, FeedForward, Linear, Norm

V = TypeVar("V")


class Writer(Protocol[V]):
    """The steps of a decoder in the words of a runtime. Values have the axes (batch, positions, width)."""

    def embed(self, decoder: Decoder) -> V:
        """Rows of the embedding by token, scaled, with positions where the decoder has a table of them."""

    def norm(self, x: V, norm: Norm) -> V:
        """The norm over the last axis."""

    def linear(self, x: V, linear: Linear) -> V:
        """The product with its weight, and its bias."""

    def attend(self, query: V, key: V, value: V, attention: Attention, index: int) -> V:
        """Attention on the cache of layer `index`, which grows by these keys and values; heads side by side in a row.

        Norms of queries and keys, turning and the causal mask are part of it.
        """

    def activate(self, x: V, kind: Activation) -> V:
        """The activation, value by value."""

    def multiply(self, x: V, y: V) -> V:
        """Value by value."""

    def add(self, x: V, y: V) -> V:
        """Value by value."""

    def scale(self, x: V, factor: float) -> V:
        """By a constant."""

    def cap(self, x: V, softcap: float) -> V:
        """The values within a cap: c * tanh(x / c)."""


def write(decoder: Decoder, writer: Writer[V]) -> V:
    """The logits, of shape (batch, positions, vocabulary)."""
    x = writer.embed(decoder)
    if decoder.embedding_norm is not None:
        x = writer.norm(x, decoder.embedding_norm)
    for layer in decoder.layers:
        x = _layer(x, layer, writer)
    logits = writer.linear(_normed(x, decoder.norm, writer), decoder.head)
    logits = _scaled(logits, decoder.logit_scale, writer)
    return writer.cap(logits, decoder.softcap) if decoder.softcap else logits


def _layer(x: V, layer: DecoderLayer, writer: Writer[V]) -> V:
    taken = _normed(x, layer.before_attention, writer)
    attended = _normed(_attention(taken, layer, writer), layer.after_attention, writer)
    attended = _scaled(attended, layer.residual, writer)
    if layer.parallel:
        taken = taken if layer.before_feed_forward is None else writer.norm(x, layer.before_feed_forward)
        fed = _feed_forward(taken, layer.feed_forward, writer)
        return writer.add(writer.add(x, attended), _scaled(fed, layer.residual, writer))
    x = writer.add(x, attended)
    fed = _feed_forward(_normed(x, layer.before_feed_forward, writer), layer.feed_forward, writer)
    fed = _normed(fed, layer.after_feed_forward, writer)
    return writer.add(x, _scaled(fed, layer.residual, writer))


def _attention(x: V, layer: DecoderLayer, writer: Writer[V]) -> V:
    attention = layer.attention
    query, key, value = (writer.linear(x, each) for each in (attention.query, attention.key, attention.value))
    return writer.linear(writer.attend(query, key, value, attention, layer.index), attention.output)


def _feed_forward(x: V, feed_forward: FeedForward, writer: Writer[V]) -> V:
    if feed_forward.gate is None:
        return writer.linear(
            writer.activate(writer.linear(x, feed_forward.up), feed_forward.activation), feed_forward.down
        )
    gate = writer.activate(writer.linear(x, feed_forward.gate), feed_forward.activation)
    return writer.linear(writer.multiply(gate, writer.linear(x, feed_forward.up)), feed_forward.down)


def _normed(x: V, norm: Norm | None, writer: Writer[V]) -> V:
    return x if norm is None else writer.norm(x, norm)


def _scaled(x: V, factor: float, writer: Writer[V]) -> V:
    return x if factor == 1 else writer.scale(x, factor)
