"""Text as tokens, by the tokenizer that lies beside a model."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import numpy as np

from ...backends.decoding import Tokens
from ...errors import InputError


def tokens_of(text: str, directory: Path, vocabulary: int) -> Tokens:
    """The tokens of a text, without any that begin or end it; of shape (count,), int64.

    Args:
        directory: of the tokenizer's files. Code in it is never run.
        vocabulary: tokens that the model has.

    Raises:
        InputError: the files are damaged, or give tokens that the model does not have.
    """
    tokenizer = tokenizer_in(directory)
    found = np.asarray(tokenizer(text, add_special_tokens=False, verbose=False)["input_ids"], dtype=np.int64)
    if found.size and found.max() >= vocabulary:
        raise InputError(
            f"The tokenizer in {directory} gives token {found.max()}, and the model has {vocabulary}.",
            hint="Give the tokenizer that the model was trained with.",
        )
    return found


def tokenizer_in(directory: Path) -> Any:
    """Transformers' object for a directory's files. Code beside them is never run, and nobody is asked whether it may.

    Raises:
        InputError: the files are damaged, or of a class that transformers itself does not have; or a letter cannot be
            read with them, as some settings are looked at only then.
    """
    from transformers import AutoTokenizer

    try:
        tokenizer = AutoTokenizer.from_pretrained(directory, local_files_only=True, trust_remote_code=False)
        tokenizer("a", verbose=False)
    except Exception as error:
        first = next((line for line in str(error).splitlines() if line.strip()), type(error).__name__)
        raise InputError(
            f"The tokenizer in {directory} cannot be loaded: {first}",
            hint="Put tokenizer.json and tokenizer_config.json as `save_pretrained` writes them there, or none.",
        ) from error
    return tokenizer


def drawn(vocabulary: int, count: int, seed: int) -> Tokens:
    """Tokens drawn evenly, where no tokenizer gives those of a text; of shape (count,), int64."""
    return np.random.default_rng(seed).integers(0, vocabulary, count, dtype=np.int64)


def digest_of(tokens: Tokens) -> str:
    """Sha256 in hex of tokens."""
    return hashlib.sha256(np.ascontiguousarray(tokens).tobytes()).hexdigest()
