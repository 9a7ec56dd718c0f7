"""A decoder, wherever its weights come from."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from ..language.decoder import Decoder
from ..language.reference import Reference
from ..language.store import Fitted


@dataclass(frozen=True, slots=True, kw_only=True)
class DecoderSource:
    """A decoder and where its weights lie."""

    name: str
    kind: str
    decoder: Decoder
    checkpoint: Fitted
    reference: Callable[[], Reference]
    tokenizer: Path | None
    licence: str = ""
    digest: str
