"""A decoder, wherever its weights come from."""

from __future__ import annotations

import copy
import hashlib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ...profiles.reading.json_file import read_json
from ...profiles.reading.opened import read_bytes
from ..language import architecture
from ..language.decoder import Decoder
from ..language.fit import fit
from ..language.store import Fitted, Store
from .base import safe_name
from .quiet import quiet

if TYPE_CHECKING:
    from ..language.reference import TorchReference

# Any of these makes a directory one with a tokenizer.
_TOKENIZERS = ("tokenizer.json", "tokenizer.model", "spiece.model", "vocab.json")
# What decides what text is as tokens, where it is there.
_DECIDING = (*_TOKENIZERS, "tokenizer_config.json", "special_tokens_map.json", "added_tokens.json", "merges.txt")
_CONFIGURATIONS = ("config.json", "generation_config.json", "chat_template.jinja")
# A tokenizer of 256,000 words has 35 MB.
_MOST = 256 << 20
_GENERATION = "generation_config.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class DecoderSource:
    """A model that writes text from left to right, and where its weights lie.

    Attributes:
        name: stem for files, safe in any file system.
        kind: `huggingface` or `gguf`.
        decoder: what it computes.
        checkpoint: its tensors, read at each call.
        reference: a new one of what it computes in FP32, without weights of its own.
        tokenizer: directory of the tokenizer's files; None where there is none.
        licence: of the model, in the words of its source; empty where it states none.
        digest: sha256 of what decides the model: weights, configuration and tokenizer.
        notes: what a reader of the report must know, one sentence each.
        evaluate: the user's own metric, higher is better, of what `decoding.metric` gives it; None is perplexity.
    """

    name: str
    kind: str
    decoder: Decoder
    checkpoint: Fitted
    reference: Callable[[], TorchReference]
    tokenizer: Path | None
    licence: str = ""
    digest: str
    notes: tuple[str, ...] = ()
    evaluate: Callable[[Any], float] | None = None


def is_decoder(kind: Any, config: Any) -> bool:
    """A class that writes text, of a configuration that a family describes.

    Args:
        kind: transformers' class of the model.
        config: an object of transformers' class of its configuration.
    """
    from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING_NAMES as CAUSAL

    return kind.__name__ in CAUSAL.values() and architecture.has_family(config)


def decoder_source(
    *,
    name: str,
    kind: str,
    module: Callable[[], Any],
    store: Callable[[Any], Store],
    origin: Path,
    tokenizer: Path | None,
    licence: str,
    deciding: Iterable[Path],
    ends: Mapping[str, Any],
    digest: Callable[[], str] | None = None,
) -> DecoderSource:
    """The source of an architecture and the tensors of it.

    Args:
        module: makes transformers' module without weights.
        store: the tensors, by the module's names where they have others.
        origin: what is read, for messages.
        deciding: files beside the tensors that decide what the model does.
        ends: as `ends_of` gives them.
        digest: gives that of the tensors, where it was begun before; None asks the store.

    Raises:
        InputError: a setting cannot be expressed, or the tensors are not those of the architecture.
    """
    with quiet():
        empty = module()
        decoder = replace(architecture.describe(empty), **ends)
        checkpoint = fit(store(empty), architecture.expected(empty, decoder), str(origin))
    return DecoderSource(
        name=safe_name(name),
        kind=kind,
        decoder=decoder,
        checkpoint=checkpoint,
        reference=partial(_reference, empty, decoder, checkpoint),
        tokenizer=tokenizer,
        licence=licence,
        digest=_digest((digest or checkpoint.digest)(), deciding),
        notes=tuple(_notes(origin, checkpoint, tokenizer)),
    )


def tokenizer_of(directory: Path) -> Path | None:
    """The directory, where a tokenizer lies in it."""
    return directory if any((directory / name).is_file() for name in _TOKENIZERS) else None


def deciding_files(directory: Path) -> list[Path]:
    """Files beside the tensors that decide what the model does, as far as they are there."""
    return [path for name in (*_CONFIGURATIONS, *_DECIDING) if (path := directory / name).is_file()]


def ends_of(directory: Path, vocabulary: int) -> dict[str, Any]:
    """Tokens that begin, end and fill, as far as the settings of generation say them otherwise than the model's.

    Raises:
        InputError: the file is damaged.
    """
    path = directory / _GENERATION
    data = read_json(path, exact=False) if path.is_file() else {}
    found = {key: data.get(f"{key}_token_id") for key in ("bos", "eos", "pad")} if isinstance(data, dict) else {}
    ends = found.pop("eos", None)
    known = {key: token for key, token in found.items() if _is_token(token, vocabulary)}
    several = tuple(token for token in (ends if isinstance(ends, list) else [ends]) if _is_token(token, vocabulary))
    return known | ({"eos": several} if several else {})


def _is_token(token: object, vocabulary: int) -> bool:
    return isinstance(token, int) and 0 <= token < vocabulary


def _reference(empty: Any, decoder: Decoder, checkpoint: Fitted) -> TorchReference:
    """Of a copy: a module without weights is copied in a twentieth of the time in which transformers makes one."""
    from ..language.reference import TorchReference

    with quiet():
        return TorchReference(copy.deepcopy(empty), decoder, checkpoint)


def _digest(tensors: str, files: Iterable[Path]) -> str:
    total = hashlib.sha256(tensors.encode())
    for path in files:
        total.update(f"{path.name} {hashlib.sha256(read_bytes(path, most=_MOST)).hexdigest()}\n".encode())
    return total.hexdigest()


def _notes(origin: Path, checkpoint: Fitted, tokenizer: Path | None) -> Iterable[str]:
    if tokenizer is None:
        yield f"{origin.name} has no tokenizer: what is made of it writes tokens, and no text."
    if checkpoint.unused:
        more = len(checkpoint.unused) - 1
        others = f" and {more} more tensor{'s' if more > 1 else ''}" if more else ""
        yield f"{origin.name} has {checkpoint.unused[0]}{others}, which the decoder does not compute with."
