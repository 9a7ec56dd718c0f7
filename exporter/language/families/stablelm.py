"""StableLM: Llama with LayerNorm, turning a part of each head; in some both parts take the values of one norm."""

from __future__ import annotations

from typing import Any

from ..decoder import Decoder
from . import parts
from .common import LLAMA_NORMS, decoder, gated, llama_layer


def describe(module: Any) -> Decoder:
    """A decoder of StableLM."""
    turned = parts.rotary(module, "model.rotary_emb")
    parallel = bool(module.config.use_parallel_residual)
    return decoder(
        module,
        (
            llama_layer(
                module,
                index,
                turned=turned,
                norms={"before_attention": "input_layernorm"} if parallel else LLAMA_NORMS,
                feed_forward=gated(
                    module,
                    index,
                    f"model.layers.{index}.mlp",
                    reads=f"layers.{index}.attention.input" if parallel else "",
                ),
                parallel=parallel,
            )
            for index in range(len(module.model.layers))
        ),
        norm=parts.norm(module, "model.norm", name="norm"),
    )
