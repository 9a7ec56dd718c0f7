"""A GGUF file of a decoder: weights, configuration and tokenizer in one file, as llama.cpp has them."""

from __future__ import annotations

import atexit
import copy
import os
from contextlib import ExitStack
from functools import cache, partial
from pathlib import Path
from typing import Any

from ...errors import InputError, UnservedError
from ...profiles.machine.held import temporary
from ...profiles.reading.opened import in_words
from ..language.architecture import empty
from ..language.gguf import Gguf, GgufFile, turn_as_told
from .asleep import load_torch_asleep
from .base import missing
from .decoder import DecoderSource, decoder_source, is_decoder
from .quiet import quiet

# Only the file itself: what lies beside it is neither fetched nor run, and nobody is asked.
_NOTHING_ELSE: dict[str, Any] = {"local_files_only": True, "trust_remote_code": False}


def matches(spec: str) -> bool:
    """By suffix."""
    return Path(spec).suffix.lower() == ".gguf"


def load(spec: str, trust: bool) -> DecoderSource:
    """Read the file's head; its tensors are made float32 one at a time, when they are asked for.

    Args:
        trust: not needed: a GGUF file holds no code.

    Raises:
        InputError: it is damaged, of an architecture that is not known, or has settings that would be left out.
        UnservedError: transformers or gguf are not installed.
    """
    path = Path(spec)
    if not os.path.lexists(path):
        raise missing(spec)
    file = GgufFile(path)
    config = file.completed(_config(file))
    kind = _class(file, config)
    return decoder_source(
        name=path.stem,
        kind="gguf",
        module=partial(_empty, file, kind, config),
        store=partial(Gguf, file),
        origin=path,
        tokenizer=_tokenizer(path),
        licence=file.licence,
        deciding=(),
        ends={},
    )


def _empty(file: GgufFile, kind: Any, config: Any) -> Any:
    module = empty(kind, copy.deepcopy(config))
    turn_as_told(file, module)
    return module


def _config(file: GgufFile) -> Any:
    load_torch_asleep()
    try:
        from transformers import AutoConfig
    except ImportError as error:
        raise UnservedError(
            f"{file.path} is read with transformers, which is not installed.", hint="pip install 'edgepress[host]'."
        ) from error
    try:
        with quiet():
            return AutoConfig.from_pretrained(file.path.parent, gguf_file=file.path.name, **_NOTHING_ELSE)
    except Exception as error:
        raise InputError(
            f"{file.path} is a {file.architecture or 'model without architecture'}, of which transformers makes no "
            f"configuration: {in_words(error)}",
            hint="Give the model as a Hugging Face directory.",
        ) from error


def _class(file: GgufFile, config: Any) -> Any:
    from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING as CAUSAL

    kind = CAUSAL.get(type(config), None)
    if kind is None or not is_decoder(kind, config):
        raise InputError(
            f"{file.path} is a {file.architecture}, of which no family of decoders is known.",
            hint="Give a model of another family; docs/language.md lists them.",
        )
    return kind


@cache
def _kept() -> ExitStack:
    """What goes at the end of the process."""
    kept = ExitStack()
    atexit.register(kept.close)
    return kept


def _tokenizer(path: Path) -> Path | None:
    """A directory with the tokenizer's files, which is removed at the end of the process; None without a tokenizer."""
    from transformers import AutoTokenizer

    try:
        with quiet():
            tokenizer = AutoTokenizer.from_pretrained(path.parent, gguf_file=path.name, **_NOTHING_ELSE)
    except Exception:  # a file need not have one; what it then cannot do is among the source's notes
        return None
    directory = _kept().enter_context(temporary()) / "tokenizer"
    with quiet():
        tokenizer.save_pretrained(directory)
    return directory
