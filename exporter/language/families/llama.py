"""Llama, and the families that differ from it in what their parts say themselves.

Mistral has a window, Qwen2 biases of queries, keys and values, Qwen3 norms of queries and keys, SmolLM3 layers that
turn nothing, Granite factors.
"""

from __future__ import annotations

from typing import Any

from ..decoder import Decoder
from . import parts
from .common import decoder, llama_layer


def describe(module: Any) -> Decoder:
    """A decoder of Llama's layers."""
    turned = parts.rotary(module, "model.rotary_emb")
    turns = [turned if getattr(layer.self_attn, "use_rope", True) else None for layer in module.model.layers]
    residual = parts.factor(module, "residual_multiplier")
    return decoder(
        module,
        (llama_layer(module, index, turned=each, residual=residual) for index, each in enumerate(turns)),
        norm=parts.norm(module, "model.norm", name="norm"),
        embedding_scale=parts.factor(module, "embedding_multiplier"),
        logit_scale=1 / parts.factor(module, "logits_scaling"),
    )
