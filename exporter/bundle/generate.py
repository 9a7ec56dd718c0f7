"""Text from a decoder's bundle, through the runtime's own library. Nothing here needs torch or onnx."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from ...backends.decoding import Generation, Sampling
from ...backends.registry import load_backend
from ...errors import InputError, UnservedError
from .manifest import Bundle, LanguageEntry, check_files, load_bundle

_WITHOUT = "Give --raw, which goes on with the prompt as it is, or export again with a template that the runtime reads."
_WITHOUT_SYSTEM = f"Leave out --system, which not every template has a place for. {_WITHOUT}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """What is to be written.

    Attributes:
        text: of the prompt.
        system: what is said before it in a conversation; empty for nothing.
        raw: the text as it is, not as a turn of a conversation.
        most: tokens at most.
    """

    text: str
    system: str = ""
    raw: bool = False
    most: int = 256
    sampling: Sampling = field(default_factory=Sampling)


@dataclass(frozen=True, slots=True, kw_only=True)
class GeneratedText:
    """What was written, and how fast.

    Attributes:
        prompt_tokens: that were read.
        tokens: that were written.
        first_token_ms: from the call until the first text is there; None where none came.
        tokens_per_second: of all but the first; None where there are not two.
        ended: by an end of text, by the number that was asked for, or by the context.
    """

    text: str
    prompt_tokens: int
    tokens: int
    first_token_ms: float | None
    tokens_per_second: float | None
    ended: str


def need_decoder(path: Path) -> tuple[Bundle, LanguageEntry]:
    """The bundle of a decoder that takes text, its files as they were packed.

    Raises:
        InputError: no bundle, one of another kind of model, or one without a tokenizer.
        VerificationError: a file was changed.
        UnservedError: the engine is not built yet.
    """
    bundle = load_bundle(path)
    entry = bundle.manifest.language
    if entry is None:
        raise InputError(
            f"{path} holds {bundle.manifest.model.name}, which is no decoder and writes no text.",
            hint="`edgepress export DIR --target cpu` makes such a bundle of a language model.",
        )
    check_files(bundle)
    if bundle.engine is None:
        raise UnservedError(
            f"{path}: the engine is {bundle.manifest.engine.why}.", hint=f"On the device, run: edgepress build {path}"
        )
    if not entry.tokenizer:
        raise InputError(
            f"{path} has no tokenizer, so that it takes tokens and no text.",
            hint="Put the tokenizer's files (tokenizer.json, tokenizer_config.json) beside the model and export again.",
        )
    return bundle, entry


@contextmanager
def opened(bundle: Bundle, threads: int | None) -> Iterator[Generation]:
    """The bundle's engine, open in the runtime's own library.

    Raises:
        UnservedError: the library is not installed, or does not run here.
    """
    engine = bundle.engine
    assert engine is not None
    with load_backend(engine.backend).generate(engine, threads) as generation:
        yield generation


def tokens_of(asked: Asked, generation: Generation, entry: LanguageEntry) -> list[int]:
    """The prompt as the model reads it.

    Raises:
        InputError: it is empty, longer than the context, or there is no template to say `system` in.
    """
    if (not asked.text.strip() and not asked.raw) or not asked.text:
        raise InputError("The prompt is empty.", hint='Write it behind the bundle, as in "Once upon a time".')
    text = _said(asked, generation)
    tokens = generation.encode(text)
    if text is not asked.text:
        tokens = _begun_once(tokens, generation)
    if not tokens:
        raise InputError("The prompt has no tokens.", hint="Give another text.")
    # onnxruntime-genai's word for what it does not find, where it takes the tokenizer for another kind.
    if min(tokens) < 0:
        raise InputError(
            f"The runtime's tokenizer does not know {sum(token < 0 for token in tokens)} of the prompt's {len(tokens)} "
            "tokens.",
            hint="It reads the model's tokenizer.json otherwise than transformers does: give tokens to the engine, or "
            "save the tokenizer in a form that it knows and export again.",
        )
    if max(tokens) >= entry.vocabulary:
        raise InputError(
            f"The tokenizer makes token {max(tokens)} of the prompt, and the model has {entry.vocabulary}.",
            hint="Give another text, or export again with the tokenizer that the model was trained with.",
        )
    if len(tokens) >= entry.context:
        raise InputError(
            f"The prompt has {len(tokens):,} tokens; the model reads at most {entry.context - 1:,} and writes behind "
            "them.",
            hint="Give a shorter one.",
        )
    return tokens


def _begun_once(tokens: list[int], generation: Generation) -> list[int]:
    """Without a second token of beginning, where the template writes one and the tokenizer adds one."""
    first, other = (generation.encode(text)[:1] for text in ("a", "b"))
    return tokens[1:] if first == other and tokens[:2] == 2 * first else tokens


def _said(asked: Asked, generation: Generation) -> str:
    """The text in the words of the model's own template, where it has one.

    Raises:
        InputError: the template fails, or there is none to say `system` in.
    """
    if asked.raw:
        return asked.text
    messages = [{"role": "system", "content": asked.system}] if asked.system else []
    try:
        text = generation.prompt([*messages, {"role": "user", "content": asked.text}])
    except InputError as error:
        raise InputError(error.message, hint=_WITHOUT_SYSTEM if asked.system else _WITHOUT) from error
    if text is None and asked.system:
        raise InputError(
            "The model has no template for conversations, so that --system has no place.",
            hint="Leave it out, or write both in one prompt.",
        )
    return asked.text if text is None else text


def generate(asked: Asked, generation: Generation, entry: LanguageEntry, each: Callable[[str], None]) -> GeneratedText:
    """Write; each piece of text goes to `each` as it is there.

    Raises:
        InputError: as `tokens_of`.
    """
    prompt = tokens_of(asked, generation, entry)
    most = min(asked.most, entry.context - len(prompt))
    pieces: list[str] = []
    stamps: list[float] = []

    def heard(piece: str) -> None:
        stamps.append(time.perf_counter())
        pieces.append(piece)
        each(piece)

    begun = time.perf_counter()
    count = generation.write(prompt, most, heard, asked.sampling)
    spent = time.perf_counter() - (stamps[0] if stamps else begun)
    return GeneratedText(
        text="".join(pieces),
        prompt_tokens=len(prompt),
        tokens=count,
        first_token_ms=1e3 * (stamps[0] - begun) if stamps else None,
        tokens_per_second=(count - 1) / spent if count > 1 and spent > 0 else None,
        ended="end of text" if count < most else "tokens" if most == asked.most else "context",
    )
