"""Decoders on OpenVINO: the engine alone with its state, and the vendor's library openvino-genai."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from threading import Event, Thread
from typing import Any

import numpy as np

from ...errors import InputError, UnservedError
from .._vendor import import_or_explain, told
from ..decoding import Decoding, Generation, Logits, Sampling, Tokens

_LIBRARY = "openvino_genai"
_POSITIONS = "position_ids"


class OpenVinoDecoding(Decoding):
    """One request of a compiled decoder, which keeps the cache itself.

    Args:
        name: of the file.
        compiled: the model.
    """

    def __init__(self, name: str, compiled: Any) -> None:
        self._name, self._request = name, compiled.create_infer_request()
        self._inputs = {port.get_any_name() for port in compiled.inputs}
        self._length = self._batch = 0

    def __call__(self, tokens: Tokens) -> Logits:
        """Logits of shape (batch, count, vocabulary)."""
        if tokens.ndim != 2 or not tokens.size:
            raise InputError(f"Tokens have shape {tokens.shape}; expected (batch, count), neither of them 0.")
        batch, count = tokens.shape
        if self._length and batch != self._batch:
            raise InputError(f"The tokens are a batch of {batch} behind one of {self._batch}.")
        total = self._length + count
        feed = {
            "input_ids": np.ascontiguousarray(tokens, dtype=np.int64),
            "attention_mask": np.ones((batch, total), dtype=np.int64),
            _POSITIONS: np.tile(np.arange(self._length, total, dtype=np.int64), (batch, 1)),
            "beam_idx": np.arange(batch, dtype=np.int32),
        }
        with told(f"OpenVINO failed to run {self._name}"):
            results = self._request.infer({name: value for name, value in feed.items() if name in self._inputs})
        self._length, self._batch = total, batch
        return np.array(next(iter(results.values())), dtype=np.float32)

    def reset(self) -> None:
        """Empty the state."""
        self._request.reset_state()
        self._length = 0

    def close(self) -> None:
        """Drop the request and its state."""
        self._request = None


class OpenVinoGeneration(Generation):
    """openvino-genai with a directory open.

    Its cache of earlier prompts is off: the second run of a prompt takes as long as the first.
    """

    def __init__(self, directory: Path, device: str, settings: Mapping[str, object]) -> None:
        self._library, self._name = _library(), directory.name
        self._pipeline = _pipeline(self._library, directory, device, settings)
        self._tokenizer = self._pipeline.get_tokenizer()
        self._words = (directory / "openvino_tokenizer.xml").is_file()
        self._context = _context(directory)

    def encode(self, text: str) -> list[int]:
        """By the tokenizer of the directory."""
        self._need_words()
        return [int(token) for token in self._tokenizer.encode(text).input_ids.data[0]]

    def prompt(self, messages: Sequence[Mapping[str, str]]) -> str | None:
        """By the chat template that the tokenizer carries."""
        if not self._words or not self._tokenizer.chat_template:
            return None
        turns = [dict(message) for message in messages]
        with told(f"openvino-genai with {self._name} failed to fill in its chat template"):
            return str(self._tokenizer.apply_chat_template(turns, add_generation_prompt=True))

    def run(self, prompt: Sequence[int], most: int, each: Callable[[int], None]) -> None:
        """Greedily, without the penalties that the model's settings may ask for."""
        config = self._library.GenerationConfig()
        config.do_sample, config.ignore_eos, config.max_new_tokens = False, True, most

        def take(some: list[int]) -> None:
            for token in some:
                each(int(token))

        self._generate(prompt, most, config, _Written(self._library, take, lambda: None))

    def write(self, prompt: Sequence[int], most: int, each: Callable[[str], None], sampling: Sampling) -> int:
        """Until an end of text; the pieces are those of the library's own stream."""
        self._need_words()
        config = self._pipeline.get_generation_config()
        config.max_new_tokens, config.repetition_penalty = most, 1.0
        config.do_sample = bool(sampling.temperature)
        if config.do_sample:
            config.temperature, config.top_p, config.rng_seed = sampling.temperature, sampling.top_p, sampling.seed
            config.top_k = sampling.top_k or np.iinfo(np.int64).max
        ends = {config.eos_token_id, *config.stop_token_ids}
        tokens: list[int] = []
        stream = self._library.TextStreamer(self._tokenizer, _piece(each))

        def take(some: list[int]) -> None:
            tokens.extend(some)
            stream.write(some)

        self._generate(prompt, most, config, _Written(self._library, take, stream.end))
        return len(tokens) - sum(token in ends for token in tokens[-1:])

    def close(self) -> None:
        """Drop the model."""
        self._tokenizer = self._pipeline = None

    def _generate(self, prompt: Sequence[int], most: int, config: Any, written: _Written) -> None:
        if not len(prompt):
            raise InputError("The prompt has no tokens.", hint="Give a text of at least one token.")
        total = len(prompt) + most
        if self._context and total > self._context:
            raise InputError(
                f"{len(prompt)} tokens of prompt and {most} more are {total}; {self._name} has a context of "
                f"{self._context}.",
                hint="Shorten the prompt, or ask for fewer tokens.",
            )
        given = import_or_explain("openvino").Tensor(np.asarray([prompt], dtype=np.int64))
        with told(f"openvino-genai failed to run {self._name}", RuntimeError):
            _run(lambda: self._pipeline.generate(given, config, written.streamer), written)

    def _need_words(self) -> None:
        if not self._words:
            raise InputError(f"{self._name} has no tokenizer.", hint="Give tokens, or export it with its tokenizer.")


def _library() -> Any:
    if find_spec(_LIBRARY) is None:
        raise UnservedError(
            "openvino-genai, which writes text on OpenVINO, is not installed.",
            hint="Install it: pip install openvino-genai",
        )
    return import_or_explain(_LIBRARY)


def _pipeline(library: Any, directory: Path, device: str, settings: Mapping[str, object]) -> Any:
    """Paged attention where the library makes it of this graph, else the graph as it is, as it would choose itself."""
    scheduler = library.SchedulerConfig()
    scheduler.enable_prefix_caching = False
    scheduler.max_num_batched_tokens = np.iinfo(np.int32).max
    try:
        return library.LLMPipeline(directory, device, scheduler_config=scheduler, **settings)
    except RuntimeError:
        with told(f"openvino-genai does not open {directory.name}"):
            return library.LLMPipeline(directory, device, ATTENTION_BACKEND="SDPA", **settings)


class _Written:
    """What the library calls with each token, from a thread of its own: an error there would end the process.

    The error is kept, the writing ends, and who asked for it raises the error.

    Args:
        take: told of the tokens.
        end: told when there are no more.
    """

    def __init__(self, library: Any, take: Callable[[list[int]], object], end: Callable[[], object]) -> None:
        self.stopped, self.error = Event(), list[BaseException]()
        status, written = library.StreamingStatus, self

        class Streamer(library.StreamerBase):  # type: ignore[misc]
            def write(self, token: int | Sequence[int]) -> Any:
                if not written.stopped.is_set():
                    written.guarded(lambda: take(list(token) if isinstance(token, Sequence) else [token]))
                return status.CANCEL if written.stopped.is_set() else status.RUNNING

            def end(self) -> None:
                if not written.stopped.is_set():
                    written.guarded(end)

        self.streamer = Streamer()

    def guarded(self, act: Callable[[], object]) -> None:
        """Act, and keep the error."""
        try:
            act()
        except BaseException as error:
            self.error.append(error)
            self.stopped.set()


def _run(work: Callable[[], object], written: _Written) -> None:
    """Do the work in a thread, so that an interrupt is heard while the library has this one; then raise what failed."""
    # Not by joining: a thread whose join is interrupted counts as ended in Python 3.10 to 3.12.
    done = Event()

    def thread() -> None:
        written.guarded(work)
        done.set()

    Thread(target=thread).start()
    try:
        while not done.wait(0.05):
            pass
    finally:
        written.stopped.set()
        done.wait()
    if written.error:
        raise written.error[0]


def _piece(each: Callable[[str], None]) -> Callable[[str], None]:
    def piece(text: str) -> None:
        each(text)

    return piece


def _context(directory: Path) -> int:
    """Positions that the model was trained for; 0 where its configuration does not say."""
    path = directory / "config.json"
    try:
        return int(json.loads(path.read_text(encoding="utf-8")).get("max_position_embeddings") or 0)
    except (OSError, ValueError, AttributeError):
        return 0
