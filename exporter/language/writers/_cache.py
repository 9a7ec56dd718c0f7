"""Inputs and outputs of a decoder's graph in ONNX, and how much of it is written."""

from __future__ import annotations

from collections.abc import Callable

from ....backends.base import TensorSpec
from ..decoder import Decoder


def past(decoder: Decoder, *tokens: str) -> tuple[TensorSpec, ...]:
    """Tokens, then the cache; a second name is that of the attention mask."""
    lengths = ("sequence_length", "total_sequence_length")
    first = (
        TensorSpec(name=name, dtype="int64", shape=("batch_size", length))
        for name, length in zip(tokens, lengths, strict=False)
    )
    return *first, *_cache(decoder, "past_key_values", "past_sequence_length")


def logits_and_cache(decoder: Decoder, *, positions: str | int = "sequence_length") -> tuple[TensorSpec, ...]:
    """Logits of so many positions, then the cache with what was added to it."""
    shape = ("batch_size", positions, decoder.vocabulary)
    logits = TensorSpec(name="logits", dtype="float32", shape=shape)
    return logits, *_cache(decoder, "present", "total_sequence_length")


def told(decoder: Decoder, advance: Callable[[float], None]) -> Callable[[int], None]:
    """What counts written weights, and tells their share of all."""
    done = 0

    def count(weights: int) -> None:
        nonlocal done
        done += weights
        advance(done / decoder.parameters)

    return count


def _cache(decoder: Decoder, name: str, length: str) -> tuple[TensorSpec, ...]:
    return tuple(
        TensorSpec(
            name=f"{name}.{layer.index}.{kind}",
            dtype="float32",
            shape=("batch_size", layer.attention.kv_heads, length, layer.attention.head_size),
        )
        for layer in decoder.layers
        for kind in ("key", "value")
    )
