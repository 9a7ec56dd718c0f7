"""A small Llama of random weights, in memory or as a directory: what the tests of decoders are about."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from transformers import LlamaConfig, LlamaForCausalLM

# 96 is no multiple of 64, and 128 divides none of the widths.
SMALL: dict[str, Any] = {
    "vocab_size": 160,
    "hidden_size": 64,
    "intermediate_size": 96,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 64,
    "bos_token_id": 0,
    "eos_token_id": 1,
    "initializer_range": 0.1,  # as different as those of a trained one
}


def llama(*, seed: int = 0, **settings: Any) -> LlamaForCausalLM:
    """The module; settings are those of `LlamaConfig`."""
    torch.manual_seed(seed)
    return LlamaForCausalLM(LlamaConfig(**SMALL | settings)).eval()


def saved_llama(directory: Path, **settings: Any) -> Path:
    """Its directory, without a tokenizer."""
    llama(**settings).save_pretrained(directory)
    return directory
