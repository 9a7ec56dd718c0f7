"""Decoders on onnxruntime: the engine alone with its cache fed back, and the vendor's library onnxruntime-genai."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

from ...errors import InputError, UnservedError
from ...profiles.reading.json_file import read_json
from .._vendor import import_or_explain, said, told
from ..base import Engine
from ..decoding import Decoding, Generation, Logits, Sampling, Tokens

_LIBRARY = "onnxruntime_genai"
# By default an engine gives logits of the last token alone; this asks for more, by how far they are before it.
_BEFORE_LAST = "before_last"
# Positions for which a cache has room at first; it doubles as they run out.
_ROOM = 256


class OnnxRuntimeDecoding(Decoding):
    """An inference session whose cache of keys and values stays where it is: the kernel adds to it in place.

    Args:
        session: of the decoder's graph.
        failures: the exceptions that it raises.
    """

    def __init__(self, engine: Engine, session: Any, failures: tuple[type[Exception], ...]) -> None:
        self._name, self._session, self._failures = engine.path.name, session, failures
        self._runtime = import_or_explain("onnxruntime")
        self._shapes = {
            spec.name: tuple(size for size in spec.shape if isinstance(size, int))
            for spec in engine.inputs
            if spec.name.startswith("past_key_values.")
        }
        # Older engines give all of them.
        self._asks = _BEFORE_LAST in {each.name for each in session.get_overridable_initializers()}
        self.reset()

    def __call__(self, tokens: Tokens) -> Logits:
        """Logits of shape (batch, count, vocabulary).

        Several tokens behind others are given one by one where there is a batch: GroupQueryAttention takes no other.
        """
        if tokens.ndim != 2 or not tokens.size:
            raise InputError(f"Tokens have shape {tokens.shape}; expected (batch, count), neither of them 0.")
        if self._length and len(tokens) != self._batch:
            raise InputError(f"The tokens are a batch of {len(tokens)} behind one of {self._batch}.")
        tokens = np.ascontiguousarray(tokens, dtype=np.int64)
        if len(tokens) > 1 and self._length and tokens.shape[1] > 1:
            parts = [self._step(tokens[:, i : i + 1]) for i in range(tokens.shape[1])]
            return np.concatenate(parts, axis=1)
        return self._step(tokens)

    def reset(self) -> None:
        """Forget all tokens, and the memory of their cache."""
        self._length = self._room = self._batch = 0
        self._cache: dict[str, Any] = {}

    def close(self) -> None:
        """Drop the session and its cache."""
        self.reset()
        self._session = None

    def _step(self, tokens: Tokens) -> Logits:
        self._make_room(len(tokens), self._length + tokens.shape[1])
        length = self._length + tokens.shape[1]
        binding = self._session.io_binding()
        binding.bind_output("logits")  # the first of its outputs, below
        binding.bind_cpu_input("input_ids", np.ascontiguousarray(tokens))
        binding.bind_cpu_input("attention_mask", np.ones((len(tokens), length), dtype=np.int64))
        if self._asks:
            binding.bind_ortvalue_input(_BEFORE_LAST, self._all(tokens.shape[1]))
        for name, value in self._cache.items():
            binding.bind_ortvalue_input(name, value)
            binding.bind_ortvalue_output(name.replace("past_key_values", "present"), value)
        try:
            self._session.run_with_iobinding(binding)
        except self._failures as error:
            first = said(error).strip().partition("\n")[0]
            raise InputError(f"onnxruntime failed to run {self._name}: {first}") from error
        self._length = length
        return np.asarray(binding.get_outputs()[0].numpy(), dtype=np.float32)

    def _all(self, count: int) -> Any:
        """How far each of so many tokens is before the last."""
        places = np.arange(count, dtype=np.int64)[::-1, None]
        return self._runtime.OrtValue.ortvalue_from_numpy(np.ascontiguousarray(places))

    def _make_room(self, batch: int, length: int) -> None:
        """A cache for so many positions; what is in it moves."""
        if length <= self._room:
            return
        room = max(_ROOM, 2 * self._room, length)
        grown = {}
        for name, (heads, size) in self._shapes.items():
            array = np.zeros((batch, heads, room, size), dtype=np.float32)
            if self._length:
                array[:, :, : self._length] = self._cache[name].numpy()[:, :, : self._length]
            grown[name] = self._runtime.OrtValue.ortvalue_from_numpy(array)
        self._cache, self._room, self._batch = grown, room, batch


class OnnxRuntimeGeneration(Generation):
    """onnxruntime-genai with a directory open."""

    def __init__(self, directory: Path, threads: int | None) -> None:
        self._library, self._name = _library(), directory.name
        self._context, self._end = _settings(directory)
        with told(f"onnxruntime-genai does not open {self._name}"):
            config = self._library.Config(str(directory))
            if threads is not None:
                options = {"session_options": {"intra_op_num_threads": threads}}
                config.overlay(json.dumps({"model": {"decoder": options}}))
            self._model = self._library.Model(config)
            self._tokenizer = self._library.Tokenizer(self._model) if _has_tokenizer(directory) else None
        self._template = _has_template(directory)

    def encode(self, text: str) -> list[int]:
        """By the tokenizer of the directory."""
        with self._told("encode the text"):
            return [int(token) for token in self._words().encode(text)]

    def prompt(self, messages: Sequence[Mapping[str, str]]) -> str | None:
        """By the chat template that lies with the tokenizer."""
        if not self._template:
            return None
        text = json.dumps([dict(message) for message in messages])
        with self._told("fill in its chat template"):
            return str(self._words().apply_chat_template(text, add_generation_prompt=True))

    def run(self, prompt: Sequence[int], most: int, each: Callable[[int], None]) -> None:
        """Greedily, without the penalties that the model's settings may ask for."""
        for token in self._tokens(prompt, most, {"do_sample": False, "repetition_penalty": 1.0}):
            each(token)

    def write(self, prompt: Sequence[int], most: int, each: Callable[[str], None], sampling: Sampling) -> int:
        """Until an end of text; the pieces are those of the tokenizer's stream."""
        stream = self._words().create_stream()
        written = 0
        for token in self._tokens(prompt, most, _search(sampling)):
            if token in self._end:
                break
            written += 1
            each(str(stream.decode(token)))
        return written

    def close(self) -> None:
        """Drop the model."""
        self._tokenizer = self._model = None

    def _tokens(self, prompt: Sequence[int], most: int, options: Mapping[str, object]) -> Iterator[int]:
        total = len(prompt) + most
        if not prompt:
            raise InputError("The prompt has no tokens.", hint="Give a text of at least one token.")
        if total > self._context:
            raise InputError(
                f"{len(prompt)} tokens of prompt and {most} more are {total}; {self._name} has a context of "
                f"{self._context}.",
                hint="Shorten the prompt, or ask for fewer tokens.",
            )
        with self._told("write"):
            params = self._library.GeneratorParams(self._model)
            params.set_search_options(max_length=total, **options)
            generator = self._library.Generator(self._model, params)
            given = list(prompt)
            for _ in range(most):
                if given:
                    generator.append_tokens(np.asarray(given, dtype=np.int32))
                generator.generate_next_token()
                token = int(generator.get_next_tokens()[0])
                # At an end of text the library stops, and leaves that token out; given as a prompt it goes on behind.
                given = [token] if generator.is_done() else []
                yield token

    def _told(self, doing: str) -> AbstractContextManager[None]:
        return told(f"onnxruntime-genai with {self._name} failed to {doing}")

    def _words(self) -> Any:
        if self._tokenizer is None:
            raise InputError(f"{self._name} has no tokenizer.", hint="Give tokens, or export it with its tokenizer.")
        return self._tokenizer


def _library() -> Any:
    if find_spec(_LIBRARY) is None:
        raise UnservedError(
            "onnxruntime-genai, which writes text on onnxruntime, is not installed.",
            hint="Install it: pip install onnxruntime-genai",
        )
    return import_or_explain(_LIBRARY)


def _settings(directory: Path) -> tuple[int, frozenset[int]]:
    """The positions that genai_config.json says the model has, and the tokens that end a text."""
    path = directory / "genai_config.json"
    try:
        model = read_json(path)["model"]
        end = model.get("eos_token_id", [])
        return int(model["context_length"]), frozenset(map(int, end if isinstance(end, list) else [end]))
    except (AttributeError, KeyError, TypeError, ValueError, OverflowError) as error:
        raise InputError(f"{path} is not onnxruntime-genai's: {error!r}.", hint="Export the model again.") from error


def _has_tokenizer(directory: Path) -> bool:
    return (directory / "tokenizer.json").is_file()


def _has_template(directory: Path) -> bool:
    if (directory / "chat_template.jinja").is_file():
        return True
    config = directory / "tokenizer_config.json"
    return config.is_file() and "chat_template" in read_json(config, exact=False)


def _search(sampling: Sampling) -> dict[str, object]:
    if not sampling.temperature:
        return {"do_sample": False}
    return {
        "do_sample": True,
        "temperature": sampling.temperature,
        "top_k": sampling.top_k,
        "top_p": sampling.top_p,
        "random_seed": sampling.seed,
    }
