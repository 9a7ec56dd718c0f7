"""Llama, and the families that only differ from it in what its parts say themselves.

Mistral has a window, Qwen2 biases of queries, keys and values, Qwen3 norms of queries and keys, SmolLM3 layers that
turn nothing, Granite factors.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from ..decoder import Decoder
from . import parts
from .common import decoder, llama_layer


def describe(module: Any) -> Decoder:
    """A decoder of Llama's layers."""
    config = module.config
    turned = parts.rotary(module, "model.rotary_emb")
    turns = [
        turned if getattr(module.model.layers[index].self_attn, "use_rope", True) else None
        for index in range(config.num_hidden_layers)
    ]
    residual = float(getattr(config, "residual_multiplier", 1.0))
    return decoder(
        module,
        (replace(llama_layer(module, index, turned=each), residual=residual) for index, each in enumerate(turns)),
        norm=parts.norm(module, "model.norm", name="norm"),
        embedding_scale=float(getattr(config, "embedding_multiplier", 1.0)),
        logit_scale=1 / float(getattr(config, "logits_scaling", 1.0)),
    )
