"""OLMo 2: norms behind the parts alone, and of all heads of queries and keys at once."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..decoder import Decoder
from . import parts
from .common import NormPlace, decoder, llama_layer

_BEHIND: Mapping[NormPlace, str] = {
    "after_attention": "post_attention_layernorm",
    "after_feed_forward": "post_feedforward_layernorm",
}


def describe(module: Any) -> Decoder:
    """A decoder of OLMo 2."""
    turned = parts.rotary(module, "model.rotary_emb")
    return decoder(
        module,
        (llama_layer(module, index, turned=turned, norms=_BEHIND) for index in range(len(module.model.layers))),
        norm=parts.norm(module, "model.norm", name="norm"),
    )
