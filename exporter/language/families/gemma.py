"""Gemma 1 to 3: norms that store their weight less 1, and a scaled embedding.

From 2 on there are norms behind the parts too. Gemma 2 caps products and logits. Gemma 3 turns differently in layers
with a window.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..decoder import Decoder
from . import parts
from .common import LLAMA_NORMS, NormPlace, decoder, llama_layer

_AROUND: Mapping[NormPlace, str] = {
    "before_attention": "input_layernorm",
    "after_attention": "post_attention_layernorm",
    "before_feed_forward": "pre_feedforward_layernorm",
    "after_feed_forward": "post_feedforward_layernorm",
}


def describe(module: Any) -> Decoder:
    """A decoder of the first Gemma."""
    return _described(module, LLAMA_NORMS)


def describe2(module: Any) -> Decoder:
    """A decoder of Gemma 2."""
    return _described(module, _AROUND, softcap=float(module.config.attn_logit_softcapping or 0))


def describe3(module: Any) -> Decoder:
    """A decoder of Gemma 3, text alone.

    Raises:
        InputError: it caps products, which transformers' module of it does not do.
    """
    if module.config.attn_logit_softcapping:
        raise parts.refused(module, f"`attn_logit_softcapping` {module.config.attn_logit_softcapping}")
    return _described(module, _AROUND, by_kind=True)


def _described(module: Any, norms: Mapping[NormPlace, str], *, softcap: float = 0.0, by_kind: bool = False) -> Decoder:
    config = module.config
    kinds = list(config.layer_types) if by_kind else [""] * config.num_hidden_layers
    turns = {kind: parts.rotary(module, "model.rotary_emb", kind=kind) for kind in dict.fromkeys(kinds)}
    return decoder(
        module,
        (
            llama_layer(module, index, turned=turns[kind], norms=norms, plus=1.0, softcap=softcap)
            for index, kind in enumerate(kinds)
        ),
        norm=parts.norm(module, "model.norm", name="norm", plus=1.0),
        embedding_scale=float(module.model.embed_tokens.embed_scale),
        softcap=float(parts.setting(module, "final_logit_softcapping") or 0),
    )
