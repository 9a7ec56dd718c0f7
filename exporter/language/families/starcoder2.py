"""StarCoder 2: Llama with LayerNorm, biases and no gate."""

from __future__ import annotations

from typing import Any

from ..decoder import Decoder
from . import parts
from .common import decoder, llama_layer, plain


def describe(module: Any) -> Decoder:
    """A decoder of StarCoder 2."""
    turned = parts.rotary(module, "model.rotary_emb")
    return decoder(
        module,
        (
            llama_layer(
                module,
                index,
                turned=turned,
                feed_forward=plain(module, index, f"model.layers.{index}.mlp", up="c_fc", down="c_proj", act="act"),
            )
            for index in range(len(module.model.layers))
        ),
        norm=parts.norm(module, "model.norm", name="norm"),
    )
