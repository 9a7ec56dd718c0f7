"""GPT-NeoX and Pythia: query, key and value of each head side by side in one matrix, both parts on the same values."""

from __future__ import annotations

from typing import Any

from ..decoder import Decoder, DecoderLayer, Rotary
from . import parts
from .common import LLAMA_NORMS, attention, decoder, layer, plain


def describe(module: Any) -> Decoder:
    """A decoder of GPT-NeoX."""
    turned = parts.rotary(module, "gpt_neox.rotary_emb")
    return decoder(
        module,
        (_layer(module, index, turned) for index in range(len(module.gpt_neox.layers))),
        norm=parts.norm(module, "gpt_neox.final_layer_norm", name="norm"),
    )


def _layer(module: Any, index: int, turned: Rotary) -> DecoderLayer:
    path, own = f"gpt_neox.layers.{index}", f"layers.{index}.attention"
    size = int(module.config.hidden_size // module.config.num_attention_heads)
    query, key, value = (
        parts.linear(
            module,
            f"{path}.attention.query_key_value",
            name=f"{own}.{name}",
            reads=f"{own}.input",
            rows=(each * size, (each + 1) * size),
            every=3 * size,
        )
        for each, name in enumerate(("query", "key", "value"))
    )
    output = parts.linear(module, f"{path}.attention.dense", name=f"{own}.output", reads=f"{own}.heads")
    return layer(
        module,
        index,
        path,
        attention=attention(module, f"{path}.attention", linears=(query, key, value, output), turned=turned),
        feed_forward=plain(module, index, f"{path}.mlp", up="dense_h_to_4h", down="dense_4h_to_h", act="act"),
        norms=LLAMA_NORMS,
        parallel=bool(module.config.use_parallel_residual),
    )
