"""Cohere's Command R: both parts on the values of one LayerNorm, neighbours turn with each other, scaled logits."""

from __future__ import annotations

from typing import Any

from ..decoder import Decoder
from . import parts
from .common import decoder, gated, llama_layer


def describe(module: Any) -> Decoder:
    """A decoder of Command R."""
    turned = parts.rotary(module, "model.rotary_emb", interleaved=True)
    return decoder(
        module,
        (
            llama_layer(
                module,
                index,
                turned=turned,
                norms={"before_attention": "input_layernorm"},
                feed_forward=gated(module, index, f"model.layers.{index}.mlp", reads=f"layers.{index}.attention.input"),
                parallel=True,
            )
            for index in range(len(module.model.layers))
        ),
        norm=parts.norm(module, "model.norm", name="norm"),
        logit_scale=float(module.config.logit_scale),
    )
