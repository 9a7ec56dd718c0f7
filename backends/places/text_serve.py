"""What a child process can be asked that holds a decoder: to write, and how long each token took."""

from __future__ import annotations

import gc
import time
from collections.abc import Sequence

from ...errors import VerificationError
from ...profiles.machine.memory import resident
from ..decoding import Generation
from .job import Job
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
