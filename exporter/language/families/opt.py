"""OPT: a table of positions of which the first two rows are left out, biases, no gate."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from ..decoder import Decoder, DecoderLayer
from . import parts
from .common import attention, decoder, layer, plain, separate


def describe(module: Any) -> Decoder:
    """A decoder of OPT.

    Raises:
        InputError: its norms are behind the sums.
    """
    if not module.config.do_layer_norm_before:
        raise parts.refused(module, "`do_layer_norm_before` false")
    described = decoder(
        module,
        (_layer(module, index) for index in range(len(module.model.decoder.layers))),
        norm=parts.optional_norm(module, "model.decoder.final_layer_norm", name="norm"),
        positions="model.decoder.embed_positions",
    )
    return replace(described, position_offset=int(module.model.decoder.embed_positions.offset))


def _layer(module: Any, index: int) -> DecoderLayer:
    path = f"model.decoder.layers.{index}"
    return layer(
        module,
        index,
        path,
        attention=attention(
            module,
            f"{path}.self_attn",
            linears=separate(module, index, f"{path}.self_attn", ("q_proj", "k_proj", "v_proj", "out_proj")),
            turned=None,
        ),
        feed_forward=plain(module, index, path, up="fc1", down="fc2", act="activation_fn"),
        norms={"before_attention": "self_attn_layer_norm", "before_feed_forward": "final_layer_norm"},
    )
