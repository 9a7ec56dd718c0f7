"""What most families have in common: the paths of Llama, and the frame around the layers."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any, Literal

from ..decoder import Attention, Decoder, DecoderLayer, FeedForward, Linear, Norm, Rotary, Tensor
from . import parts

# Query, key, value and output.
Linears = tuple[Linear, Linear, Linear, Linear]
NormPlace = Literal["before_attention", "before_feed_forward", "after_attention", "after_feed_forward"]
LLAMA_NORMS: Mapping[NormPlace, str] = {
    "before_attention": "input_layernorm",
    "before_feed_forward": "post_attention_layernorm",
}


def attention(
    module: Any,
    path: str,
    *,
    linears: Linears,
    turned: Rotary | None,
    window: int | None = None,
    softcap: float = 0.0,
    query_norm: Norm | None = None,
    key_norm: Norm | None = None,
) -> Attention:
    """The attention of a layer, whose scale and size of heads its module at the path says.

    Raises:
        InputError: keys and values, or queries and outputs, are not of one size.
    """
    query, key, value, output = linears
    heads = int(module.config.num_attention_heads)
    size, rest = divmod(query.outputs, heads)
    kv_heads = key.outputs // size
    if rest or not (key.outputs == value.outputs == kv_heads * size and output.inputs == heads * size):
        raise parts.refused(module, f"queries, keys and values of different sizes in `{path}`")
    own = module.get_submodule(path)
    if not getattr(own, "is_causal", True):
        raise parts.refused(module, "attention to what comes later")
    return Attention(
        query=query,
        key=key,
        value=value,
        output=output,
        heads=heads,
        kv_heads=kv_heads,
        head_size=size,
        scale=float(own.scaling),
        rotary=turned,
        query_norm=query_norm,
        key_norm=key_norm,
        norm_heads=_norm_heads(module, size, query_norm),
        window=window,
        softcap=softcap,
    )


def _norm_heads(module: Any, size: int, query_norm: Norm | None) -> bool:
    """Each head has a norm of its own, by the size of the norm's weight."""
    if query_norm is None or query_norm.weight is None:
        return True
    return bool(module.get_parameter(query_norm.weight.name).shape[0] == size)


def separate(module: Any, index: int, path: str, names: tuple[str, str, str, str]) -> Linears:
    """Query, key, value and output, each a layer of its own, by their names under the path."""
    own = f"layers.{index}.attention"
    query, key, value = (
        parts.linear(module, f"{path}.{name}", name=f"{own}.{each}", reads=f"{own}.input")
        for name, each in zip(names, ("query", "key", "value"), strict=False)
    )
    output = parts.linear(module, f"{path}.{names[3]}", name=f"{own}.output", reads=f"{own}.heads")
    return query, key, value, output


def gated(module: Any, index: int, path: str, *, reads: str = "") -> FeedForward:
    """Llama's feed-forward part: `gate_proj`, `up_proj`, `down_proj`.

    Args:
        reads: name of what it takes, where that is not its own.
    """
    own = f"layers.{index}.feed_forward"
    gate, up = (
        parts.linear(module, f"{path}.{name}_proj", name=f"{own}.{name}", reads=reads or f"{own}.input")
        for name in ("gate", "up")
    )
    down = parts.linear(module, f"{path}.down_proj", name=f"{own}.down", reads=f"{own}.hidden")
    return FeedForward(gate=gate, up=up, down=down, activation=parts.activation(module, f"{path}.act_fn"))


def plain(module: Any, index: int, path: str, *, up: str, down: str, act: str, reads: str = "") -> FeedForward:
    """A feed-forward part without a gate, by the names of its parts under the path.

    Args:
        reads: as in `gated`.
    """
    own = f"layers.{index}.feed_forward"
    return FeedForward(
        up=parts.linear(module, f"{path}.{up}", name=f"{own}.up", reads=reads or f"{own}.input"),
        down=parts.linear(module, f"{path}.{down}", name=f"{own}.down", reads=f"{own}.hidden"),
        activation=parts.activation(module, f"{path}.{act}"),
    )


def layer(
    module: Any,
    index: int,
    path: str,
    *,
    attention: Attention,
    feed_forward: FeedForward,
    norms: Mapping[NormPlace, str],
    plus: float = 0.0,
    parallel: bool = False,
    residual: float = 1.0,
) -> DecoderLayer:
    """A layer of these parts.

    Args:
        norms: names of its norms under the path, by where they are.
        plus: what their classes add to their weights.
    """
    found = {
        place: parts.norm(module, f"{path}.{name}", name=f"layers.{index}.{place}", plus=plus)
        for place, name in norms.items()
    }
    return DecoderLayer(
        index=index,
        attention=attention,
        feed_forward=feed_forward,
        before_attention=found.get("before_attention"),
        before_feed_forward=found.get("before_feed_forward"),
        after_attention=found.get("after_attention"),
        after_feed_forward=found.get("after_feed_forward"),
        parallel=parallel,
        residual=residual,
    )


def llama_layer(
    module: Any,
    index: int,
    *,
    turned: Rotary | None,
    norms: Mapping[NormPlace, str] = LLAMA_NORMS,
    plus: float = 0.0,
    softcap: float = 0.0,
    feed_forward: FeedForward | None = None,
    parallel: bool = False,
    residual: float = 1.0,
) -> DecoderLayer:
    """A layer by Llama's names, whose window the configuration says; other parts where they are given.

    Args:
        norms, plus: as in `layer`; `plus` is of the norms of queries and keys too.
    """
    path = f"model.layers.{index}"
    return layer(
        module,
        index,
        path,
        attention=llama_attention(module, index, f"{path}.self_attn", turned=turned, plus=plus, softcap=softcap),
        feed_forward=feed_forward or gated(module, index, f"{path}.mlp"),
        norms=norms,
        plus=plus,
        parallel=parallel,
        residual=residual,
    )


def llama_attention(
    module: Any, index: int, path: str, *, turned: Rotary | None, plus: float = 0.0, softcap: float = 0.0
) -> Attention:
    """Attention by Llama's names; with norms of queries and keys where it has `q_norm` and `k_norm`."""
    own = f"layers.{index}.attention"
    query_norm, key_norm = (
        parts.optional_norm(module, f"{path}.{each}_norm", name=f"{own}.{name}_norm", plus=plus)
        for each, name in (("q", "query"), ("k", "key"))
    )
    return attention(
        module,
        path,
        linears=separate(module, index, path, ("q_proj", "k_proj", "v_proj", "o_proj")),
        turned=turned,
        window=parts.window(module, index),
        softcap=softcap,
        query_norm=query_norm,
        key_norm=key_norm,
    )


def decoder(
    module: Any,
    layers: Iterable[DecoderLayer],
    *,
    norm: Norm | None,
    positions: str = "",
    embedding_scale: float = 1.0,
    logit_scale: float = 1.0,
    softcap: float = 0.0,
) -> Decoder:
    """The frame: tables and head by what the module says they are, tokens and lengths by the configuration.

    Args:
        positions: path of a table of them.
    """
    config = module.config
    embedding, head = module.get_input_embeddings(), module.get_output_embeddings()
    table = Tensor(name=f"{parts.path_of(module, embedding)}.weight")
    last = parts.linear(module, parts.path_of(module, head), name="head", reads="head.input")
    if head.weight is embedding.weight:
        last = replace(last, weight=table)
    vocabulary, width = embedding.weight.shape
    ends = getattr(config, "eos_token_id", None)
    listed = ends if isinstance(ends, list | tuple) else (ends,)
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
        bos=_known(getattr(config, "bos_token_id", None), vocabulary),
        eos=tuple(one for one in listed if _known(one, vocabulary) is not None),
        pad=_known(getattr(config, "pad_token_id", None), vocabulary),
    )


def _known(token: Any, vocabulary: int) -> int | None:
    """A token; None of what the model does not have, as configurations write -1 for none."""
    return token if isinstance(token, int) and 0 <= token < vocabulary else None
