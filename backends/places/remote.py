"""The other end of a child process: starts it, asks it, and says what became of it when it fails."""

from __future__ import annotations

import json
import os
import select
import signal
import subprocess
import tempfile
import time
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from types import TracebackType
from typing import Any

from ... import errors
from ...errors import EdgepressError, VerificationError
from ...profiles.machine.fresh import module_command
from ...profiles.timing.measure import Settings
from .._vendor import CHILD

MODULE = "edgepress.backends.places.child"
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
        events: CLOCK_MONOTONIC in nanoseconds of its start (`spawned`) and of what it said since.
        pid: of the process.
    """

    def __init__(self, job: Path, name: str, timeout: float = TIMEOUT, doing: str = "ran") -> None:
        """Start it; `ready` waits for its engine.

        Args:
            name: of what it works on, for messages.
            doing: what it does with it, for messages: `ran`, `compiled`.
        """
        self._name, self._timeout, self._doing = name, timeout, doing
        self._rest = b""
        self._errors = tempfile.TemporaryFile()  # noqa: SIM115  (closed with the process)
        self.events = {"spawned": time.monotonic_ns()}
        self._process = subprocess.Popen(
            module_command(MODULE, str(job)),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            env={**os.environ, CHILD: "1"},
        )
        self.pid = self._process.pid

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
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(json.dumps({"do": what, **arguments}).encode() + b"\n")
            self._process.stdin.flush()
        except BrokenPipeError as error:
            raise self._ended() from error
        return self._read(lasting + self._timeout)["answer"]

    def warm(self, settings: Settings) -> None:
        """Run without taking times until it is warm."""
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

    def close(self) -> None:
        """End the process and wait for it."""
        self._process.kill()
        self._process.wait()
        for file in (self._process.stdin, self._process.stdout, self._errors):
            if file is not None:
                with suppress(BrokenPipeError):  # what was not yet read is for nobody
                    file.close()

    def __enter__(self) -> Remote:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _read(self, seconds: float) -> dict[str, Any]:
        """The next line; an error in it is raised."""
        end = time.monotonic() + seconds
        assert self._process.stdout is not None
        while b"\n" not in self._rest:
            ready, _, _ = select.select([self._process.stdout], [], [], max(0.0, end - time.monotonic()))
            if not ready:
                raise self._silent(seconds)
            block = os.read(self._process.stdout.fileno(), 1 << 20)
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
        code = self._process.wait()
        how = f"was ended by {_signal(-code)}" if code < 0 else f"ended with status {code}"
        self._errors.seek(0)
        lines = self._errors.read().decode(errors="replace").strip().splitlines()
        last = f" The last it said: {lines[-1].strip()}" if lines else ""
        return EngineFailedError(f"The process that {self._doing} {self._name} {how}.{last}", hint=_HINTS[self._doing])


_HINTS = {
    "ran": "`edgepress verify` shows whether the engine works.",
    "compiled": "The runtime itself failed on this model: try another version of it, or another target.",
}


def _signal(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"


def _rebuilt(said: dict[str, Any]) -> EdgepressError | OSError:
    """The error that the process raised, of the same class."""
    if said["kind"] == "OSError":
        return OSError(said["number"], said["error"], said["file"])
    kind = getattr(errors, said["kind"], EdgepressError)
    error: EdgepressError = kind(said["error"], hint=said["hint"])
    return error
