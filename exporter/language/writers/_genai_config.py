"""What lies beside a decoder's graph for onnxruntime-genai: `genai_config.json` and the tokenizer's files."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

from ....errors import InputError
from ..decoder import Decoder

# The decoders that onnxruntime-genai 0.18 knows by name; it runs any as `decoder`, which is how it runs these, too.
KINDS = frozenset(
    {"gemma", "gemma2", "granite", "llama", "mistral", "olmo", "phi", "phi3", "qwen2", "qwen3", "smollm3"}
)
# What a tokenizer is read from, by transformers as by onnxruntime-genai.
TOKENIZER_FILES = (
    "added_tokens.json",
    "chat_template.jinja",
    "merges.txt",
    "special_tokens_map.json",
    "tokenizer.json",
    "tokenizer.model",
    "tokenizer_config.json",
    "vocab.json",
)
_NEEDED = ("tokenizer.json", "tokenizer_config.json")
_GENERATION = "generation_config.json"
# What generation_config.json and genai_config.json say in the same words, with the defaults of the latter.
_SEARCH: dict[str, Any] = {
    "do_sample": False,
    "temperature": 1.0,
    "top_k": 50,
    "top_p": 1.0,
    "repetition_penalty": 1.0,
    "no_repeat_ngram_size": 0,
    "num_beams": 1,
    "num_return_sequences": 1,
    "length_penalty": 1.0,
    "early_stopping": True,
    "diversity_penalty": 0.0,
    "min_length": 0,
}


def write_config(decoder: Decoder, directory: Path, tokenizer: Path | None) -> None:
    """Write `genai_config.json`; how to choose tokens is taken from the model's generation_config.json.

    Raises:
        InputError: that is no JSON object.
    """
    settings = {} if tokenizer is None else _read(tokenizer / _GENERATION)
    text = json.dumps({"model": _model(decoder), "search": _search(decoder, settings)}, indent=4)
    (directory / "genai_config.json").write_text(text + "\n", encoding="utf-8")


def copy_tokenizer(tokenizer: Path, directory: Path) -> None:
    """Copy a tokenizer's files.

    Raises:
        InputError: a file is missing without which onnxruntime-genai does not open it.
    """
    for name in _NEEDED:
        if not (tokenizer / name).is_file():
            raise InputError(
                f"{tokenizer.name} has no {name}, which onnxruntime-genai reads.",
                hint="Save it as a fast tokenizer: AutoTokenizer.from_pretrained(DIR).save_pretrained(DIR).",
            )
    for name in TOKENIZER_FILES:
        if (tokenizer / name).is_file():
            shutil.copyfile(tokenizer / name, directory / name)


def _model(decoder: Decoder) -> dict[str, Any]:
    attention = decoder.layers[0].attention
    eos = list(decoder.eos)
    model: dict[str, Any] = {
        "type": decoder.kind if decoder.kind in KINDS else "decoder",
        "vocab_size": decoder.vocabulary,
        "context_length": decoder.context,
        "bos_token_id": decoder.bos,
        "eos_token_id": eos[0] if len(eos) == 1 else eos,
        # It pads what it has no token for by an end of text.
        "pad_token_id": decoder.pad if decoder.pad is not None else next(iter(eos), 0),
        "decoder": {
            "filename": "model.onnx",
            "session_options": {"log_id": "onnxruntime-genai", "provider_options": []},
            "hidden_size": decoder.width,
            "head_size": attention.head_size,
            "num_attention_heads": attention.heads,
            "num_key_value_heads": attention.kv_heads,
            "num_hidden_layers": len(decoder.layers),
            "inputs": {
                "input_ids": "input_ids",
                "attention_mask": "attention_mask",
                "past_key_names": "past_key_values.%d.key",
                "past_value_names": "past_key_values.%d.value",
            },
            "outputs": {
                "logits": "logits",
                "present_key_names": "present.%d.key",
                "present_value_names": "present.%d.value",
            },
        },
    }
    return {key: value for key, value in model.items() if value is not None and value != []}


def _search(decoder: Decoder, settings: dict[str, Any]) -> dict[str, Any]:
    told = {key: settings[key] for key in _SEARCH if settings.get(key) is not None}
    return {**_SEARCH, **told, "max_length": decoder.context, "past_present_share_buffer": True}


def _read(path: Path) -> dict[str, Any]:
    if not path.is_file():
        return {}
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise InputError(f"{path.name} is no JSON: {error}.") from error
    if not isinstance(content, dict):
        raise InputError(f"{path.name} is no JSON object.")
    return content
