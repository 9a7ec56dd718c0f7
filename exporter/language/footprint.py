"""What a decoder needs in memory, computed from its shape and from the bytes that its matrices take."""

from __future__ import annotations

from ...profiles.findings.language import Footprint
from .decoder import Decoder

_HOW = (
    "Weights are the bytes of codes and scales as the runtime holds them; keys and values are reckoned from the "
    "layers, {value:g} bytes a value at most, for the full context."
)


def footprint(decoder: Decoder, weights: int, table: int, context: int, value: float) -> Footprint:
    """Bytes in memory.

    Args:
        weights: bytes of all matrices in memory.
        table: of these, bytes of the embedding, where the runtime holds it apart from the head; of it a token reads one
            row. 0 where the head computes with the same bytes.
        context: positions that the engine takes.
        value: bytes of a key or value in the runtime's cache.
    """
    row = table // decoder.vocabulary
    return Footprint(
        weights=weights,
        read=weights - table + row,
        context=context,
        cache=round(cache_values(decoder, context) * value),
        how=_HOW.format(value=value),
    )


def cache_values(decoder: Decoder, context: int) -> int:
    """Keys and values that are kept for so many positions; a layer with a window is reckoned with its window."""
    kept = (
        2 * one.attention.kv_heads * one.attention.head_size * min(context, one.attention.window or context)
        for one in decoder.layers
    )
    return sum(kept)
