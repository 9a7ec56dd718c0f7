"""A small decoder, as transformers writes it and as llama.cpp does, with a tokenizer of its own."""

from __future__ import annotations

import json
from pathlib import Path
from pydoc_data.topics import topics
from typing import Any

WORDS, HIDDEN, HEADS, CONTEXT, EPSILON = 300, 32, 2, 96, 1e-6


def write_decoder(directory: Path) -> None:
    """`llama/`, `llama.gguf`, and `texts/` to calibrate on."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    (directory / "texts").mkdir()
    for number, name in enumerate(sorted(topics)[:3]):
        (directory / f"texts/{number}.txt").write_text(topics[name])
    _tokenizer().save_pretrained(directory / "llama")
    torch.manual_seed(0)
    sizes = {"vocab_size": WORDS, "hidden_size": HIDDEN, "intermediate_size": 2 * HIDDEN, "num_hidden_layers": 1}
    heads = {"num_attention_heads": HEADS, "num_key_value_heads": HEADS, "max_position_embeddings": CONTEXT}
    ends = {"bos_token_id": 0, "eos_token_id": 1, "tie_word_embeddings": True, "rms_norm_eps": EPSILON}
    model = LlamaForCausalLM(LlamaConfig(**sizes, **heads, **ends, initializer_range=0.1))
    model.save_pretrained(directory / "llama")
    _write_gguf(directory / "llama.gguf", model, json.loads((directory / "llama/tokenizer.json").read_text())["model"])


def other_weights(directory: Path) -> None:
    """Change the weights of a directory."""
    from safetensors.torch import load_file, save_file

    path = directory / "model.safetensors"
    save_file({name: tensor * 1.25 for name, tensor in load_file(path).items()}, path, {"format": "pt"})


def _tokenizer() -> Any:
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=WORDS,
        special_tokens=["<s>", "</s>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator([topics[name] for name in sorted(topics)[:4]], trainer)
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, bos_token="<s>", eos_token="</s>")


def _write_gguf(path: Path, model: Any, vocabulary: dict[str, Any]) -> None:
    """The same weights and tokenizer; that heads turn otherwise there is nothing to who damages them."""
    import gguf

    writer = gguf.GGUFWriter(path, "llama")
    writer.add_block_count(1)
    writer.add_context_length(CONTEXT)
    writer.add_embedding_length(HIDDEN)
    writer.add_feed_forward_length(2 * HIDDEN)
    writer.add_head_count(HEADS)
    writer.add_head_count_kv(HEADS)
    writer.add_layer_norm_rms_eps(EPSILON)
    writer.add_rope_dimension_count(HIDDEN // HEADS)
    writer.add_vocab_size(WORDS)
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("gpt-2")
    writer.add_token_list(sorted(vocabulary["vocab"], key=vocabulary["vocab"].get))
    writer.add_token_merges([" ".join(pair) for pair in vocabulary["merges"]])
    writer.add_bos_token_id(0)
    writer.add_eos_token_id(1)
    names = gguf.get_tensor_name_map(gguf.MODEL_ARCH.LLAMA, 1)
    for name, tensor in model.state_dict().items():
        if name != "lm_head.weight":
            writer.add_tensor(names.get_name(name, (".weight",)), tensor.numpy())
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
