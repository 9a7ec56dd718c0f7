"""Phi 3 and 4: Llama with queries, keys and values in one matrix, and gate and up in another."""

from __future__ import annotations

from typing import Any

from ..decoder import Decoder, DecoderLayer, FeedForward, Linear, Rotary
from . import parts
from .common import LLAMA_NORMS, attention, decoder, layer


def describe(module: Any) -> Decoder:
    """A decoder of Phi 3."""
    turned = parts.rotary(module, "model.rotary_emb")
    return decoder(
        module,
        (_layer(module, index, turned) for index in range(len(module.model.layers))),
        norm=parts.norm(module, "model.norm", name="norm"),
    )


def _layer(module: Any, index: int, turned: Rotary) -> DecoderLayer:
    path, own = f"model.layers.{index}", f"layers.{index}.attention"
    heads, kv_heads = module.config.num_attention_heads, module.config.num_key_value_heads
    size = int(module.get_submodule(f"{path}.self_attn").head_dim)
    ends = (0, heads * size, (heads + kv_heads) * size, (heads + 2 * kv_heads) * size)
    query, key, value = (
        _part(module, f"{path}.self_attn.qkv_proj", f"{own}.{name}", f"{own}.input", (ends[each], ends[each + 1]))
        for each, name in enumerate(("query", "key", "value"))
    )
    output = parts.linear(module, f"{path}.self_attn.o_proj", name=f"{own}.output", reads=f"{own}.heads")
    return layer(
        module,
        index,
        path,
        attention=attention(
            module,
            f"{path}.self_attn",
            linears=(query, key, value, output),
            turned=turned,
            window=parts.window(module, index),
        ),
        feed_forward=_feed_forward(module, index, f"{path}.mlp"),
        norms=LLAMA_NORMS,
    )


def _feed_forward(module: Any, index: int, path: str) -> FeedForward:
    own = f"layers.{index}.feed_forward"
    size = module.get_submodule(f"{path}.gate_up_proj").weight.shape[0] // 2
    gate, up = (
        _part(module, f"{path}.gate_up_proj", f"{own}.{name}", f"{own}.input", (each * size, (each + 1) * size))
        for each, name in enumerate(("gate", "up"))
    )
    down = parts.linear(module, f"{path}.down_proj", name=f"{own}.down", reads=f"{own}.hidden")
    return FeedForward(gate=gate, up=up, down=down, activation=parts.activation(module, f"{path}.activation_fn"))


def _part(module: Any, path: str, name: str, reads: str, rows: tuple[int, int]) -> Linear:
    return parts.linear(module, path, name=name, reads=reads, rows=rows)
