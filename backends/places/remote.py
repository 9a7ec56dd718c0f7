"""The other end of a child process: starts it, asks it, and says what became of it when it fails."""

from __future__ import annotations

import json
import time
from dataclasses import asdict
from pathlib import Path
from types import TracebackType
from typing import Any

from ... import errors
from ...errors import EdgepressError, VerificationError
from ...profiles.findings.layers import Layer
from ...profiles.timing.measure import Settings, warm_by_slices
from .host import Here, Host

HERE = Here()
TIMEOUT = 120.0  # seconds that a process may be silent beyond what it was asked to take


class EngineFailedError(VerificationError):
    """The process that ran an engine crashed, or gave no answer in time."""

    @property
    def told(self) -> str:
        """What happened and what to do, in one line."""
        return " ".join(text for text in (self.message, self.hint) if text)


class Remote:
    """A fresh process with one engine, or none; an `Arm` of a measurement.

    Attributes:
        events: its host's CLOCK_MONOTONIC in nanoseconds of its start (`spawned`) and of what it said since.
        pid: of the process, as its host numbers it.
    """

    def __init__(self, job: Path, name: str, timeout: float = TIMEOUT, doing: str = "ran", host: Host = HERE) -> None:
        """Start it; `ready` waits for its engine.

        Args:
            name: of what it works on, for messages.
            doing: what it does with it, for messages: `ran`, `compiled`.
            host: where it runs; what the job names lies there.
        """
        self._name, self._timeout, self._doing, self._host = name, timeout, doing, host
        self._rest = b""
        self._channel = host.start(job)
        self.events = {"spawned": self._channel.spawned}
        self.pid = self._channel.pid

    def ready(self) -> Remote:
        """Wait until it can be asked: the engine is open, and gave its first answer where it was given an input.

        Raises:
            EdgepressError: what the process itself found wrong.
            EngineFailedError: it crashed or is silent.
        """
        while "ready" not in self.events:
            said = self._read(self._timeout)
            self.events[said["event"]] = said["at"]
        return self

    def ask(self, what: str, lasting: float = 0.0, **arguments: Any) -> Any:
        """Ask for one thing and wait for the answer.

        Args:
            what: a method of `serve.Server`.
            lasting: seconds that it takes by itself, as it was asked for.

        Raises:
            EdgepressError: what the process itself found wrong.
            EngineFailedError: it crashed or is silent.
        """
        try:
            self._channel.write(json.dumps({"do": what, **arguments}).encode() + b"\n")
        except BrokenPipeError as error:
            raise self._ended() from error
        return self._read(lasting + self._timeout)["answer"]

    def warm(self, settings: Settings) -> None:
        """Run without taking times until it is warm."""
        if self._host.bare:
            warm_by_slices(self.slice, settings)
        else:
            self.ask("warm", settings.cap * settings.warmup_seconds, **asdict(settings))

    def slice(self, settings: Settings) -> list[int]:
        """Nanoseconds of each inference of one slice."""
        taken: list[int] = self.ask("slice", settings.slice_seconds, **asdict(settings))
        return taken

    def turn(self, settle: int, count: int) -> list[int]:
        """Nanoseconds of `count` inferences, after `settle` that only bring back caches.

        Raises:
            EngineFailedError: the clock went backwards, so that nothing it says can be trusted.
        """
        taken: list[int] = self.ask("turn", settle=settle, count=count)
        if min(taken) <= 0:
            raise EngineFailedError("The clock of this machine went backwards.", hint="Measure again.")
        return taken

    def layers(self, inputs: str = "") -> tuple[Layer, ...]:
        """The layers that ran on the job's input, or on the arrays in a file there.

        Raises:
            EngineFailedError: it crashed or is silent.
        """
        return self._host.layers(self.ask("layers", inputs=inputs))

    def close(self) -> None:
        """End the process and wait for it."""
        self._channel.close()

    def __enter__(self) -> Remote:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _read(self, seconds: float) -> dict[str, Any]:
        """The next line; an error in it is raised."""
        end = time.monotonic() + seconds
        while b"\n" not in self._rest:
            block = self._channel.read(max(0.0, end - time.monotonic()))
            if block is None:
                raise self._silent(seconds)
            if not block:
                raise self._ended()
            self._rest += block
        line, _, self._rest = self._rest.partition(b"\n")
        said: dict[str, Any] = json.loads(line)
        if "error" in said:
            raise _rebuilt(said)
        return said

    def _silent(self, seconds: float) -> EngineFailedError:
        self.close()
        return EngineFailedError(
            f"{self._name} gave no answer for {seconds:.0f} s and was stopped.",
            hint="If it is only slow, give it longer with --timeout.",
        )

    def _ended(self) -> EngineFailedError:
        how, text = self._channel.ended()
        lines = text.strip().splitlines()
        last = f" The last it said: {lines[-1].strip()}" if lines else ""
        hint = self._host.hint(self._doing)
        return EngineFailedError(f"The process that {self._doing} {self._name} {how}.{last}", hint=hint)


def _rebuilt(said: dict[str, Any]) -> EdgepressError | OSError:
    """The error that the process raised, of the same class."""
    if said["kind"] == "OSError":
        return OSError(said["number"], said["error"], said["file"])
    kind = getattr(errors, said["kind"], EdgepressError)
    error: EdgepressError = kind(said["error"], hint=said["hint"])
    return error
