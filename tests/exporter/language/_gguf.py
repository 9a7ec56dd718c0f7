"""A small GGUF file of a Llama, written as llama.cpp's converter does."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import gguf
import numpy as np
import numpy.typing as npt
from transformers import PreTrainedModel

Floats = npt.NDArray[np.float32]
TYPE = gguf.GGMLQuantizationType


def turned(weight: Floats, heads: int) -> Floats:
    """Rows of each head in the order in which neighbours turn with each other."""
    halves = weight.reshape(heads, 2, weight.shape[0] // heads // 2, *weight.shape[1:])
    return np.ascontiguousarray(halves.swapaxes(1, 2).reshape(weight.shape))


def write(
    path: Path, model: PreTrainedModel, *, type: Any = TYPE.F32, factors: Floats | None = None, **settings: Any
) -> None:
    """The model with its matrices of this type; each further setting is a number of `llama.*`."""
    config = model.config
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_block_count(config.num_hidden_layers)
    writer.add_context_length(config.max_position_embeddings)
    writer.add_embedding_length(config.hidden_size)
    writer.add_feed_forward_length(config.intermediate_size)
    writer.add_head_count(config.num_attention_heads)
    writer.add_head_count_kv(config.num_key_value_heads)
    writer.add_layer_norm_rms_eps(config.rms_norm_eps)
    writer.add_rope_dimension_count(config.head_dim)
    writer.add_rope_freq_base(10000.0)
    writer.add_vocab_size(config.vocab_size)
    for name, value in settings.items():
        writer.add_float32(f"llama.{name}", value)
    names = gguf.get_tensor_name_map(gguf.MODEL_ARCH.LLAMA, config.num_hidden_layers)
    for name, tensor in model.state_dict().items():
        if name == "lm_head.weight" and config.tie_word_embeddings:
            continue
        values = tensor.numpy()
        for part, heads in (("q_proj", config.num_attention_heads), ("k_proj", config.num_key_value_heads)):
            values = turned(values, heads) if f".{part}." in name else values
        kind = type if values.ndim == 2 else TYPE.F32
        stored = names.get_name(name, (".weight",))
        writer.add_tensor(stored, gguf.quantize(values, kind), raw_dtype=kind)
    if factors is not None:
        writer.add_tensor("rope_freqs.weight", factors)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
