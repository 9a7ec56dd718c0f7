"""Small random decoders as directories, and a tokenizer trained on a text that every Python has."""

from __future__ import annotations

import json
from pathlib import Path
from pydoc_data.topics import topics
from typing import Any

import transformers
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

from .._llama import saved_llama

WORDS = 384
CONTEXT = 192
TEMPLATE = (
    "{% for message in messages %}{{ message['role'] + ': ' + message['content'] + '\\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ 'assistant: ' }}{% endif %}"
)
# A pass in which nothing is calibrated, of weights that lose little: what most tests need.
QUICK = ("--precision", "int8", "--rounding", "nearest", "--no-measure", "-q")


def tale(directory: Path, *, tokenizer: bool = True, **settings: Any) -> Path:
    """A Llama of 90,000 weights."""
    if tokenizer:
        write_tokenizer(directory)
    own = {"vocab_size": WORDS, "max_position_embeddings": CONTEXT, "tie_word_embeddings": True}
    return saved_llama(directory, **own | settings)


def write_tokenizer(directory: Path, words: int = WORDS) -> None:
    """Byte pairs of some pages on Python, and a template of conversations."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=words,
        special_tokens=["<s>", "</s>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator([topics[name] for name in sorted(topics)[:8]], trainer)
    fast = transformers.PreTrainedTokenizerFast(tokenizer_object=tokenizer, bos_token="<s>", eos_token="</s>")
    fast.chat_template = TEMPLATE
    fast.save_pretrained(directory)


def claim(path: Path, **changes: object) -> None:
    """Change what a JSON file says."""
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))
