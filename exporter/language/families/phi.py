"""Phi and Phi 2: attention and feed-forward part side by side on one norm, turning a part of each head, biases."""

from __future__ import annotations

from typing import Any

from ..decoder import Decoder, DecoderLayer, Rotary
from . import parts
from .common import attention, decoder, layer, plain, separate


def describe(module: Any) -> Decoder:
    """A decoder of Phi."""
    turned = parts.rotary(module, "model.rotary_emb")
    return decoder(
        module,
        (_layer(module, index, turned) for index in range(len(module.model.layers))),
        norm=parts.norm(module, "model.final_layernorm", name="norm"),
    )


def _layer(module: Any, index: int, turned: Rotary) -> DecoderLayer:
    path, own = f"model.layers.{index}", f"layers.{index}.attention"
    query_norm, key_norm = (
        parts.optional_norm(module, f"{path}.self_attn.{each}_layernorm", name=f"{own}.{name}_norm")
        for each, name in (("q", "query"), ("k", "key"))
    )
    return layer(
        module,
        index,
        path,
        attention=attention(
            module,
            f"{path}.self_attn",
            linears=separate(module, index, f"{path}.self_attn", ("q_proj", "k_proj", "v_proj", "dense")),
            turned=turned,
            query_norm=query_norm,
            key_norm=key_norm,
        ),
        feed_forward=plain(
            module, index, f"{path}.mlp", up="fc1", down="fc2", act="activation_fn", reads=f"{own}.input"
        ),
        norms={"before_attention": "input_layernorm"},
        parallel=True,
    )
