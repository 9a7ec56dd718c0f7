"""What lies beside an OpenVINO decoder: its tokenizer as two models, and what its library reads as configuration."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

from ....backends._vendor import import_or_explain
from ....errors import InputError, UnservedError
from ..decoder import Decoder
from ..tokens import tokenizer_in

# What people who open the directory with transformers' classes find there, too.
_TOKENIZER_FILES = ("tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "chat_template.jinja")
_REMEDY = 'Install it: pip install "openvino-tokenizers"'


def write_configuration(decoder: Decoder, source: Path | None, directory: Path) -> None:
    """Write `config.json` and `generation_config.json`; the source's own where it has them.

    Args:
        source: directory of the tokenizer, which is that of the whole model where it comes from Hugging Face.
    """
    ends = list(decoder.eos)
    tokens = {"bos_token_id": decoder.bos, "eos_token_id": ends[0] if len(ends) == 1 else ends or None}
    tokens["pad_token_id"] = decoder.pad
    known = {name: value for name, value in tokens.items() if value is not None}
    made = {"model_type": decoder.kind, "vocab_size": decoder.vocabulary, "max_position_embeddings": decoder.context}
    _write(directory / "config.json", {**made, **known, **_read(source, "config.json")})
    _write(directory / "generation_config.json", {**_read(source, "generation_config.json"), **known})


def write_tokenizer(source: Path, directory: Path) -> tuple[str, ...]:
    """Convert the tokenizer into two models of OpenVINO's operators; returns what a reader must know of them.

    Raises:
        UnservedError: what converts it is not installed.
        InputError: it is damaged, or of a kind that OpenVINO does not have.
    """
    ov = import_or_explain("openvino")
    try:
        convert = import_or_explain("openvino_tokenizers").convert_tokenizer
    except UnservedError as error:
        raise UnservedError("OpenVINO's converter of tokenizers is not installed.", hint=_REMEDY) from error
    tokenizer = tokenizer_in(source)
    _read_bytes_alone(getattr(tokenizer, "backend_tokenizer", None))
    try:
        models = convert(tokenizer, with_detokenizer=True)
    except Exception as error:
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise InputError(f"OpenVINO does not take the tokenizer in {source.name}: {reason}") from error
    for name, model in zip(("openvino_tokenizer", "openvino_detokenizer"), models, strict=True):
        path = directory / f"{name}.xml"
        ov.serialize(model, path, path.with_suffix(".bin"))
    for name in _TOKENIZER_FILES:
        if (source / name).is_file():
            shutil.copyfile(source / name, directory / name)
    return ()


def _read_bytes_alone(tokenizer: Any) -> None:
    """Drop the steps of a decoder beside that of bytes, where no token is written otherwise without them.

    Transformers makes such a decoder of a GGUF file; OpenVINO's converter takes steps for words or for bytes, not both.
    """
    decoder = {} if tokenizer is None else json.loads(tokenizer.to_str())["decoder"] or {}
    if "ByteLevel" not in {step["type"] for step in decoder.get("decoders", ())}:
        return
    before, texts = tokenizer.decoder, _texts(tokenizer)
    tokenizer.decoder = import_or_explain("tokenizers").decoders.ByteLevel()
    if _texts(tokenizer) != texts:
        tokenizer.decoder = before


def _texts(tokenizer: Any) -> list[str]:
    """What each token alone, and all of them in a row are written as."""
    every = list(range(tokenizer.get_vocab_size()))
    return list(tokenizer.decode_batch([*([one] for one in every), every], skip_special_tokens=False))


def _read(source: Path | None, name: str) -> dict[str, Any]:
    if source is None or not (source / name).is_file():
        return {}
    try:
        read = json.loads((source / name).read_text(encoding="utf-8"))
    except ValueError as error:
        raise InputError(f"{name} of the tokenizer's directory is no JSON: {error}.") from error
    return read if isinstance(read, dict) else {}


def _write(path: Path, content: dict[str, Any]) -> None:
    path.write_text(json.dumps(content, indent=2, sort_keys=True) + "\n", encoding="utf-8")
