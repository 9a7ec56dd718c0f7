"""Where child processes run: this machine, another one, or a processor that this one emulates.

A `Host` starts a child and knows where files lie there; a `Channel` is the way to one child that runs. Whoever adds a
host says both, and `Remote` speaks the same protocol over it.
"""

from __future__ import annotations

import abc
import os
import select
import signal
import subprocess
import tempfile
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter

from ...profiles.findings.layers import Layer
from ...profiles.machine.environment import last_cores
from ...profiles.machine.fresh import module_command
from .._onnxfile import external_files
from .._vendor import CHILD
from ..base import Engine, Graph

MODULE = "edgepress.backends.places.child"
_HINTS = {
    "ran": "`edgepress verify` shows whether the engine works.",
    "compiled": "The runtime itself failed on this model: try another version of it, or another target.",
}


class Channel(abc.ABC):
    """The standard streams of a child that runs.

    Attributes:
        pid: of the process, as its host numbers it.
        spawned: when it was started, in nanoseconds of its host's CLOCK_MONOTONIC.
    """

    pid: int
    spawned: int

    @abc.abstractmethod
    def write(self, data: bytes) -> None:
        """Write all of it to standard input.

        Raises:
            BrokenPipeError: nobody reads any more.
        """

    @abc.abstractmethod
    def read(self, seconds: float) -> bytes | None:
        """What is next on standard output; None where nothing came in time, empty where it ended."""

    @abc.abstractmethod
    def ended(self) -> tuple[str, str]:
        """Wait for the process, whose output has ended.

        Returns:
            How it ended, as in `was ended by SIGSEGV`, and what it wrote to standard error.
        """

    @abc.abstractmethod
    def close(self) -> None:
        """End the process where it still runs, and wait for it; more than once does no harm."""


class Host(abc.ABC):
    """Where child processes run.

    Every path that goes to a child is one that `send` or `there` gave, and what a child wrote is here after `fetch`.
    Files that lie in one directory here lie in one there.
    """

    @property
    def bare(self) -> bool:
        """Whether a program of a backend's own is the child there, which does not know when an engine is warm."""
        return False

    @abc.abstractmethod
    def start(self, job: Path) -> Channel:
        """Start a child on a job that lies here, with its input beside it where it has one; what it names lies there.

        Raises:
            UnservedError: no process can be started there.
        """

    @abc.abstractmethod
    def send(self, path: Path) -> Path:
        """Where a file or a directory lies there; it was brought there if need be, also if it changed since."""

    @abc.abstractmethod
    def there(self, path: Path) -> Path:
        """Where a file or a directory is to be written there that `fetch` is to bring to `path`; its parent exists."""

    @abc.abstractmethod
    def fetch(self, path: Path) -> None:
        """Bring a file or a directory that was written there for `path`."""

    def engine(self, engine: Engine) -> Engine:
        """The engine as a child there opens it: all of its directory was sent."""
        return replace(engine, path=self.send(engine.path.parent) / engine.path.name)

    def graph(self, graph: Graph) -> Graph:
        """The graph as a child there reads it: its external data were sent, too."""
        for name in external_files(graph.path):
            self.send(graph.path.parent / name)
        return replace(graph, path=self.send(graph.path))

    def cores(self, count: int) -> tuple[int, ...]:
        """The cores that so many threads are bound to where they are timed; empty leaves the system's choice."""
        return ()

    def layers(self, said: Any) -> tuple[Layer, ...]:
        """What a child answered when it was asked for its layers."""
        return TypeAdapter(tuple[Layer, ...]).validate_python(said)

    def hint(self, doing: str) -> str:
        """What to do about a process that crashed.

        Args:
            doing: what it did: `ran`, `compiled`.
        """
        return _HINTS[doing]


class Here(Host):
    """This machine, by this Python."""

    def start(self, job: Path) -> Channel:
        """Start it."""
        return Piped(module_command(MODULE, str(job)))

    def send(self, path: Path) -> Path:
        """It lies here."""
        return path

    def there(self, path: Path) -> Path:
        """It is written here."""
        return path

    def fetch(self, path: Path) -> None:
        """It is here."""

    def cores(self, count: int) -> tuple[int, ...]:
        """The last ones: the first one serves most interrupts."""
        return last_cores(count)


class Piped(Channel):
    """A process of this machine."""

    def __init__(self, command: Sequence[str], environment: Mapping[str, str] | None = None) -> None:
        """Start it.

        Args:
            environment: what it has besides that of this process.
        """
        self.spawned = time.monotonic_ns()
        self._errors = tempfile.TemporaryFile()  # noqa: SIM115  (closed with the process)
        self._process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            env={**os.environ, CHILD: "1", **(environment or {})},
        )
        self.pid = self._process.pid

    def write(self, data: bytes) -> None:
        """Write all of it to standard input."""
        assert self._process.stdin is not None
        self._process.stdin.write(data)
        self._process.stdin.flush()

    def read(self, seconds: float) -> bytes | None:
        """What is next on standard output; None where nothing came in time, empty where it ended."""
        assert self._process.stdout is not None
        ready, _, _ = select.select([self._process.stdout], [], [], seconds)
        return os.read(self._process.stdout.fileno(), 1 << 20) if ready else None

    def ended(self) -> tuple[str, str]:
        """How it ended, and what it wrote to standard error."""
        code, said = self.ended_with()
        return how_ended(code), said

    def ended_with(self) -> tuple[int, str]:
        """Its status, and what it wrote to standard error."""
        code = self._process.wait()
        self._errors.seek(0)
        return code, self._errors.read().decode(errors="replace")

    def close(self) -> None:
        """End it and wait for it."""
        self._process.kill()
        self._process.wait()
        for file in (self._process.stdin, self._process.stdout, self._errors):
            if file is not None:
                with suppress(BrokenPipeError):  # what was not yet read is for nobody
                    file.close()


def how_ended(code: int) -> str:
    """How a process ended, by its status, which is negative of a signal."""
    if code >= 0:
        return f"ended with status {code}"
    try:
        return f"was ended by {signal.Signals(-code).name}"
    except ValueError:
        return f"was ended by signal {-code}"
