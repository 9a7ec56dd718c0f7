"""What most families have in common: the paths of Llama, and the frame around the layers."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from ..decoder import Attention, Decoder, FeedForward, Layer, Linear, Norm, Rotary, Tensor
from . import parts

# Query, key, value and output.
Linears = tuple[Linear, Linear, Linear, Linear]


def heads_of(module: Any) -> tuple[int, int]:
    """How many heads queries, and keys and values have."""
    config = module.config
    heads = int(config.num_attention_heads)
    return heads, int(getattr(config, "num_key_value_heads", None) or heads)


def attention(
    module: Any,
    index: int,
    path: str,
    *,
    linears: Linears,
    turned: Rotary | None,
    window: int | None = None,
    softcap: float = 0.0,
    query_norm: Norm | None = None,
    key_norm: Norm | None = None,
    norm_heads: bool = True,
) -> Attention:
    """The attention of layer `index`, whose scale and size of heads its module at the path says.

    Raises:
        InputError: keys and values, or queries and outputs, are not of one size.
    """
    heads, kv_heads = heads_of(module)
    query, key, value, output = linears
    size, rest = divmod(query.outputs, heads)
    if rest or not (key.outputs == value.outputs == kv_heads * size and output.inputs == heads * size):
        raise parts.refused(module, f"queries, keys and values of different sizes in `{path}`")
    layer = module.get_submodule(path)
    if not getattr(layer, "is_causal", True):
        raise parts.refused(module, "attention to what comes later")
    return Attention(
        query=query,
        key=key,
        value=value,
        output=output,
        heads=heads,
        kv_heads=kv_heads,
        head_size=size,
        scale=float(layer.scaling),
        rotary=turned,
        query_norm=query_norm,
        key_norm=key_norm,
        norm_heads=norm_heads,
        window=window,
        softcap=softcap,
    )


def separate(module: Any, index: int, path: str, names: tuple[str, str, str, str]) -> Linears:
    """Query, key, value and output, each a layer of its own, by their names under the path."""
    own = f"layers.{index}.attention"
    query, key, value = (
        parts.linear(module, f"{path}.{name}", name=f"{own}.{each}", reads=f"{own}.input")
        for name, each in zip(names, ("query", "key", "value"), strict=False)
    )
    output = parts.linear(module, f"{path}.{names[3]}", name=f"{own}.output", reads=f"{own}.heads")
    return query, key, value, output


def gated(module: Any, index: int, path: str) -> FeedForward:
    """Llama's feed-forward part: `gate_proj`, `up_proj`, `down_proj`."""
    own = f"layers.{index}.feed_forward"
    gate, up = (
        parts.linear(module, f"{path}.{name}_proj", name=f"{own}.{name}", reads=f"{own}.input")
        for name in ("gate", "up")
    )
    down = parts.linear(module, f"{path}.down_proj", name=f"{own}.down", reads=f"{own}.hidden")
    return FeedForward(gate=gate, up=up, down=down, activation=parts.activation(module, f"{path}.act_fn"))


def plain(module: Any, index: int, path: str, *, up: str, down: str, act: str, reads: str = "") -> FeedForward:
    """A feed-forward part of two layers, by their names under the path.

    Args:
        reads: name of what it takes, where that is not its own.
    """
    own = f"layers.{index}.feed_forward"
    return FeedForward(
        up=parts.linear(module, f"{path}.{up}", name=f"{own}.up", reads=reads or f"{own}.input"),
        down=parts.linear(module, f"{path}.{down}", name=f"{own}.down", reads=f"{own}.hidden"),
        activation=parts.activation(module, f"{path}.{act}"),
    )


def llama_layer(module: Any, index: int, *, turned: Rotary | None, plus: float = 0.0, softcap: float = 0.0) -> Layer:
    """A layer by Llama's names; norms of queries and keys where it has `q_norm` and `k_norm`.

    Args:
        plus: what the classes of its norms add to their weights.
    """
    path, own = f"model.layers.{index}", f"layers.{index}"
    query_norm, key_norm = (
        parts.optional_norm(module, f"{path}.self_attn.{each}_norm", name=f"{own}.attention.{name}_norm", plus=plus)
        for each, name in (("q", "query"), ("k", "key"))
    )
    linears = separate(module, index, f"{path}.self_attn", ("q_proj", "k_proj", "v_proj", "o_proj"))
    return Layer(
        index=index,
        attention=attention(
            module,
            index,
            f"{path}.self_attn",
            linears=linears,
            turned=turned,
            window=parts.window(module, index),
            softcap=softcap,
            query_norm=query_norm,
            key_norm=key_norm,
        ),
        feed_forward=gated(module, index, f"{path}.mlp"),
        before_attention=parts.norm(module, f"{path}.input_layernorm", name=f"{own}.before_attention", plus=plus),
        before_feed_forward=parts.norm(
            module, f"{path}.post_attention_layernorm", name=f"{own}.before_feed_forward", plus=plus
        ),
    )


def decoder(
    module: Any,
    layers: Iterable[Layer],
    *,
    norm: Norm | None,
    embedding: str = "model.embed_tokens",
    head: str = "lm_head",
    positions: str = "",
    embedding_scale: float = 1.0,
    logit_scale: float = 1.0,
    softcap: float = 0.0,
) -> Decoder:
    """The frame: tables and head by their paths, tokens and lengths by the configuration."""
    config = module.config
    table = Tensor(name=f"{embedding}.weight")
    last = parts.linear(module, head, name="head", reads="head.input")
    if module.get_submodule(head).weight is module.get_submodule(embedding).weight:
        last = _tied(last, table)
    vocabulary, width = module.get_submodule(embedding).weight.shape
    ends = getattr(config, "eos_token_id", None)
    return Decoder(
        kind=config.model_type,
        vocabulary=int(vocabulary),
        width=int(width),
        context=int(config.max_position_embeddings),
        embedding=table,
        layers=tuple(layers),
        norm=norm,
        head=last,
        embedding_scale=embedding_scale,
        positions=Tensor(name=f"{positions}.weight") if positions else None,
        logit_scale=logit_scale,
        softcap=softcap,
        bos=getattr(config, "bos_token_id", None),
        eos=tuple(ends) if isinstance(ends, list | tuple) else () if ends is None else (int(ends),),
        pad=getattr(config, "pad_token_id", None),
    )


def _tied(head: Linear, table: Tensor) -> Linear:
    return Linear(
        name=head.name, weight=table, inputs=head.inputs, outputs=head.outputs, reads=head.reads, bias=head.bias
    )
