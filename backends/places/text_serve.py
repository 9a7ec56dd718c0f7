"""What a child process can be asked that holds a decoder: to write, how long each token took, and what is likely."""

from __future__ import annotations

import gc
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from ...errors import VerificationError
from ...profiles.machine.memory import resident
from ..decoding import Decoding, Generation
from .job import Job, load_arrays, save_arrays
from .serve import Server


class TextServer(Server):
    """A decoder, opened once with the vendor's own library."""

    def __init__(self, job: Job, before: int) -> None:
        super().__init__(job, None, before)
        self._generation: Generation | None = None

    def open(self) -> None:
        """Load it; a runtime that compiles when it opens compiles now."""
        self._generation = self._backend.generate(self._engine, self._job.threads)
        self._opened, _ = resident()
        gc.collect()
        gc.freeze()
        gc.disable()

    def do_write(self, prompt: Sequence[int], most: int) -> list[int]:
        """Nanoseconds from the call until each of `most` tokens behind the prompt is there.

        Raises:
            VerificationError: the library wrote another number of tokens, so that no rate could be told.
        """
        assert self._generation is not None
        gc.collect()
        stamps: list[int] = []
        begun = time.perf_counter_ns()
        self._generation.run(prompt, most, lambda token: stamps.append(time.perf_counter_ns()))
        if len(stamps) != most:
            raise VerificationError(
                f"The library wrote {len(stamps)} tokens where {most} were asked for.",
                hint="`edgepress verify` shows whether the engine works.",
            )
        return [stamp - begun for stamp in stamps]


class LogitsServer(Server):
    """A decoder, opened once on its runtime alone."""

    def __init__(self, job: Job, before: int) -> None:
        super().__init__(job, None, before)
        self._decoding: Decoding | None = None

    def open(self) -> None:
        """Load it."""
        self._decoding = self._backend.decode(self._engine, self._job.threads)

    def do_run(self, inputs: str, outputs: str) -> None:
        """Logits after each of the tokens in a file, into another."""
        assert self._decoding is not None
        save_arrays(Path(outputs), {"logits": self._decoding(load_arrays(Path(inputs))["tokens"].astype(np.int64))})

    def do_reset(self) -> None:
        """Forget all tokens."""
        assert self._decoding is not None
        self._decoding.reset()
