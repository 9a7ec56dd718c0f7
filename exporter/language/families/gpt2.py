"""GPT-2: a table of positions, matrices the other way round, queries, keys and values in one of them."""

from __future__ import annotations

from typing import Any

from ..decoder import Decoder, DecoderLayer
from . import parts
from .common import attention, decoder, layer, plain


def describe(module: Any) -> Decoder:
    """A decoder of GPT-2."""
    return decoder(
        module,
        (_layer(module, index) for index in range(len(module.transformer.h))),
        norm=parts.norm(module, "transformer.ln_f", name="norm"),
        positions="transformer.wpe",
    )


def _layer(module: Any, index: int) -> DecoderLayer:
    path, own = f"transformer.h.{index}", f"layers.{index}.attention"
    width = int(module.config.hidden_size)
    query, key, value = (
        parts.linear(
            module,
            f"{path}.attn.c_attn",
            name=f"{own}.{name}",
            reads=f"{own}.input",
            rows=(each * width, (each + 1) * width),
        )
        for each, name in enumerate(("query", "key", "value"))
    )
    output = parts.linear(module, f"{path}.attn.c_proj", name=f"{own}.output", reads=f"{own}.heads")
    return layer(
        module,
        index,
        path,
        attention=attention(module, f"{path}.attn", linears=(query, key, value, output), turned=None),
        feed_forward=plain(module, index, f"{path}.mlp", up="c_fc", down="c_proj", act="act"),
        norms={"before_attention": "ln_1", "before_feed_forward": "ln_2"},
    )
