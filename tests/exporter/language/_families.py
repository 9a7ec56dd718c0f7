"""Tiny random models of each family, with sizes that nothing divides."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
import transformers
from transformers import PreTrainedModel

from edgepress.exporter.language import architecture
from edgepress.exporter.language.checkpoint import Safetensors
from edgepress.exporter.language.decoder import Decoder
from edgepress.exporter.language.fit import fit
from edgepress.exporter.language.store import Fitted

# Heads whose size is not width / heads, three of keys and values.
_LLAMA: dict[str, Any] = {
    "vocab_size": 97,
    "hidden_size": 60,
    "intermediate_size": 92,
    "num_hidden_layers": 3,
    "num_attention_heads": 6,
    "num_key_value_heads": 3,
    "head_dim": 14,
    "max_position_embeddings": 64,
    "pad_token_id": 0,
    "bos_token_id": 1,
    "eos_token_id": 2,
}
# Of those whose heads have width / heads values.
_EVEN = {**{key: value for key, value in _LLAMA.items() if key != "head_dim"}, "hidden_size": 96}
_YARN = {"rope_type": "yarn", "rope_theta": 10000.0, "factor": 4.0, "original_max_position_embeddings": 16}
_LLAMA3 = {
    "rope_type": "llama3",
    "rope_theta": 500.0,
    "factor": 8.0,
    "low_freq_factor": 1.0,
    "high_freq_factor": 4.0,
    "original_max_position_embeddings": 32,
}
_TYPES = ["sliding_attention", "full_attention", "sliding_attention"]
_WINDOW = {"sliding_window": 7, "layer_types": _TYPES}

MODELS: dict[str, tuple[str, dict[str, Any]]] = {
    "llama": ("Llama", {**_LLAMA, "tie_word_embeddings": True}),
    "llama-biases": ("Llama", {**_LLAMA, "attention_bias": True, "mlp_bias": True, "rope_parameters": _LLAMA3}),
    "llama-yarn": ("Llama", {**_LLAMA, "rope_parameters": _YARN}),
    "mistral-window": ("Mistral", {**_LLAMA, "sliding_window": 7}),
    "ministral": ("Ministral", {**_LLAMA, **_WINDOW}),
    "smollm3": ("SmolLM3", {**_EVEN, "no_rope_layers": [1, 1, 0]}),
    "qwen2-window": ("Qwen2", {**_EVEN, **_WINDOW, "use_sliding_window": True, "max_window_layers": 1}),
    "qwen3": ("Qwen3", {**_LLAMA}),
    "granite": (
        "Granite",
        {
            **_EVEN,
            "embedding_multiplier": 6.0,
            "attention_multiplier": 0.2,
            "residual_multiplier": 0.3,
            "logits_scaling": 3.0,
        },
    ),
    "gemma": ("Gemma", {**_LLAMA}),
    "gemma2": (
        "Gemma2",
        {
            **_LLAMA,
            **_WINDOW,
            "query_pre_attn_scalar": 20,
            "attn_logit_softcapping": 0.5,
            "final_logit_softcapping": 1.0,
        },
    ),
    "gemma3": ("Gemma3", {**_LLAMA, **_WINDOW, "query_pre_attn_scalar": 20}),
    "olmo2": ("Olmo2", {**_EVEN}),
    "phi": (
        "Phi",
        {**_EVEN, "rope_parameters": {"rope_type": "default", "rope_theta": 100.0, "partial_rotary_factor": 0.5}},
    ),
    "phi-norms": ("Phi", {**_EVEN, "num_key_value_heads": 6, "qk_layernorm": True, "hidden_act": "gelu_new"}),
    "phi3": ("Phi3", {**_EVEN, "sliding_window": 7}),
    "gpt2": (
        "GPT2",
        {
            "vocab_size": 97,
            "n_positions": 64,
            "n_embd": 60,
            "n_layer": 3,
            "n_head": 5,
            "n_inner": 92,
            "scale_attn_by_inverse_layer_idx": True,
            "bos_token_id": 1,
            "eos_token_id": 2,
        },
    ),
    "gpt-neox": (
        "GPTNeoX",
        {**_EVEN, "rope_parameters": {"rope_type": "default", "rope_theta": 100.0, "partial_rotary_factor": 0.5}},
    ),
    "gpt-neox-in-turn": ("GPTNeoX", {**_EVEN, "use_parallel_residual": False, "hidden_act": "gelu"}),
    "stablelm": ("StableLm", {**_EVEN, "use_qkv_bias": True}),
    "stablelm-parallel": ("StableLm", {**_EVEN, "use_parallel_residual": True}),
    "starcoder2": ("Starcoder2", {**_EVEN, "sliding_window": 7}),
    "cohere": ("Cohere", {**_EVEN, "logit_scale": 0.3}),
    "opt": (
        "OPT",
        {
            **{
                k: _EVEN[k]
                for k in ("vocab_size", "num_hidden_layers", "num_attention_heads", "max_position_embeddings")
            },
            "hidden_size": 96,
            "word_embed_proj_dim": 96,
            "ffn_dim": 92,
        },
    ),
}


def made(name: str, directory: Path, **settings: Any) -> PreTrainedModel:
    """A random model of the family, saved into the directory; every weight counts, norms and biases too."""
    family, given = MODELS[name]
    kind = getattr(transformers, "GPT2LMHeadModel" if family == "GPT2" else f"{family}ForCausalLM")
    torch.manual_seed(len(name))
    model: PreTrainedModel = kind(kind.config_class(**{**given, **settings})).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter) * (0.1 if parameter.ndim > 1 else 0.3))
    model.save_pretrained(directory)
    return model


def opened(directory: Path) -> tuple[Any, Decoder, Fitted]:
    """The module without weights, its description and its checkpoint."""
    config = transformers.AutoConfig.from_pretrained(directory)
    module = architecture.empty(getattr(transformers, config.architectures[0]), config)
    decoder = architecture.describe(module)
    return module, decoder, fit(Safetensors(directory), architecture.expected(module, decoder), str(directory))
