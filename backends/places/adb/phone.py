"""A phone that is connected: what it lacks is brought there, and processes are started."""

from __future__ import annotations

import json
import logging
import shlex
import time
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import Any

from pydantic_core import to_jsonable_python

from ....errors import UnservedError
from ....profiles.findings.layers import Layer
from ....profiles.machine.held import temporary
from ....profiles.reading.hashed import sha256
from ...base import Engine
from ...onnxruntime import layers_of, session_attempts
from ..distant import Distant
from ..files import Files
from ..host import Channel, how_ended
from ..job import FEED, load_job
from . import about, building
from . import runtime as runtimes
from .about import PhoneFacts
from .address import PhoneAddress
from .client import Client
from .storage import Storage

DECODER = "genai_config.json"  # in the directory of an engine that onnxruntime-genai opens
PROTOCOL = 1  # of runner/main.cpp
_ADB_FAILED = 255
_STARTING = 30.0  # seconds that a process there may take for it
_PROFILED = 11  # runs of a profile, of which the first still allocates
_log = logging.getLogger(__name__)


class PhoneHost(Distant):
    """A phone."""

    address: PhoneAddress
    others = "apps"

    def __init__(self, address: PhoneAddress) -> None:
        super().__init__()
        self.address = address

    @cached_property
    def client(self) -> Client:
        """The way there.

        Raises:
            UnservedError: there is none.
        """
        found = Client(self.address)
        self.address = found.address
        return found

    @cached_property
    def about(self) -> PhoneFacts:
        """The phone."""
        return about.ask(self.client)

    @cached_property
    def runtime(self) -> runtimes.Runtime:
        """The file here that has onnxruntime for it."""
        return runtimes.find(self.address)

    @cached_property
    def files(self) -> Files:
        """Its files, once this run has the phone to itself."""
        self._storage = Storage(self.client)
        return Files(self._storage)

    @property
    def free_memory(self) -> int | None:
        """Of that phone."""
        return self.about.memory

    @cached_property
    def programs(self) -> tuple[str, str]:
        """Where the runner and the library lie there; they were brought there if need be.

        Raises:
            InputError, UnservedError: they cannot be had, or there is no room for them.
        """
        abi = self.about.abi
        with temporary() as scratch:
            library = self.runtime.library(abi, scratch)
            runner = building.runner(self.address, abi, self.runtime)
            pairs = [(file, sha256(file)) for file in (runner, library)]
            self.files.keep(pairs)
        return self._storage.stored(pairs[0][1]), self._storage.stored(pairs[1][1])

    @cached_property
    def loaded(self) -> Mapping[str, Any]:
        """What the runner says of itself and of the library there: `version`, `providers`.

        Raises:
            UnservedError: the one does not run there, or the other does not load.
        """
        runner, library = self.programs
        done = self.client.shell(f"{shlex.quote(runner)} about {shlex.quote(library)}")
        try:
            found: dict[str, Any] = json.loads(done.out)
        except json.JSONDecodeError as error:
            said = (done.err.strip() or done.out.strip()).splitlines()[-1:] or [_ended(done.code)]
            raise UnservedError(
                f"The runner does not run on {self.address}: {said[0]}.",
                hint="Build it anew: leave ?runner= out; or give a ?directory=PATH whose programs may run.",
            ) from error
        if found.get("protocol") != PROTOCOL:
            raise UnservedError(
                f"The runner speaks protocol {found.get('protocol')}, and this edgepress {PROTOCOL}.",
                hint="Build it anew from this edgepress.",
            )
        if "error" in found:
            raise UnservedError(
                f"{self.address}: {found['error']}", hint="Give another library: ?runtime=PATH behind the address."
            )
        return found

    def cores(self, count: int) -> tuple[int, ...]:
        """The fastest ones."""
        return self.about.cores[:count]

    def start(self, job: Path) -> Channel:
        """Start a process there."""
        runner, _ = self.programs
        path = self.send(self._told(job))
        command = f"cd {shlex.quote(str(path.parent))} && exec {shlex.quote(runner)} run {shlex.quote(str(path))}"
        return PhoneChannel(self, command)

    def _told(self, job: Path) -> Path:
        """What the runner is told: a file beside the job."""
        asked, feed = load_job(job)
        assert asked.engine is not None, "nothing but engines runs there"
        written = job.with_name("runner.json")
        where = self.there(written).parent
        told = {
            "library": self.programs[1],
            "model": str(asked.engine.path),
            "inputs": [spec.name for spec in asked.engine.inputs],
            "outputs": [spec.name for spec in asked.engine.outputs],
            "threads": asked.threads,
            "affinity": asked.affinity,
            "attempts": session_attempts(asked.engine, self.about.arch),
            "provider": self.address.provider,
            "feed": None if feed is None else str(self.send(job.with_name(FEED))),
            "profile_runs": _PROFILED,
            "scratch": str(where),
        }
        written.write_text(json.dumps(to_jsonable_python(told)), encoding="utf-8")
        return written

    def layers(self, said: Any) -> tuple[Layer, ...]:
        """Of the runtime's own profile."""
        return tuple(layers_of(said["events"], said["runs"]))

    def engine(self, engine: Engine) -> Engine:
        """The engine as it is opened there; it is kept there for later runs.

        Raises:
            UnservedError: it is a decoder's, or too large.
        """
        if (engine.path.parent / DECODER).exists():
            raise self.without_decoders()
        return super().engine(engine)

    def without_decoders(self) -> UnservedError:
        """The error for a decoder."""
        return UnservedError(
            f"{self.address} runs no decoders: the library that writes text is not part of the runner there.",
            hint="Verify and measure it on this machine, or on a device that SSH reaches.",
        )

    def hint(self, doing: str) -> str:
        """What ends programs on a phone."""
        return (
            "Android itself ends a program (SIGKILL) where memory runs out: see `adb logcat -b all | grep -i lowmem`. "
            "Otherwise `edgepress verify` shows whether the engine works."
        )

    def close(self) -> None:
        """Give the phone back; what runs there for this run ends."""
        if (storage := self.__dict__.pop("_storage", None)) is not None:
            storage.close()
        for name in ("client", "about", "runtime", "files", "programs", "loaded"):
            self.__dict__.pop(name, None)


class PhoneChannel(Channel):
    """The streams of one process there."""

    def __init__(self, host: PhoneHost, command: str) -> None:
        """Start it.

        Raises:
            UnservedError: it does not start.
        """
        self._host, self._rest, self.pid = host, b"", 0
        self._piped = host.client.start(command)
        try:
            begun = self._line()
        except BaseException:
            self._piped.close()
            raise
        self.pid, self.spawned = begun["pid"], begun["spawned"]

    def _line(self) -> dict[str, int]:
        """The first line."""
        end = time.monotonic() + _STARTING
        while b"\n" not in self._rest:
            block = self._piped.read(max(0.0, end - time.monotonic()))
            if not block:
                how, said = ("did not start in time", "") if block is None else self.ended()
                last = said.strip().splitlines()[-1:]
                raise UnservedError(
                    " ".join([f"A process on {self._host.address} {how}.", *last]), hint="Run the same command again."
                )
            self._rest += block
        line, _, self._rest = self._rest.partition(b"\n")
        try:
            found: dict[str, int] = json.loads(line)
        except json.JSONDecodeError:
            words = line.decode(errors="replace").strip()
            raise UnservedError(f"The runner does not start on {self._host.address}: {words}.") from None
        return found

    def write(self, data: bytes) -> None:
        """Write all of it to standard input."""
        self._piped.write(data)

    def read(self, seconds: float) -> bytes | None:
        """What is next on standard output; None where nothing came in time, empty where it ended."""
        if self._rest and self.pid:
            rest, self._rest = self._rest, b""
            return rest
        return self._piped.read(seconds)

    def ended(self) -> tuple[str, str]:
        """How it ended, and what it wrote to standard error.

        Raises:
            UnservedError: the phone is not there any more, so that nobody knows.
        """
        code, said = self._piped.ended_with()
        # Where the connection is cut adb ends as if all were well, which no runner does that is not told to.
        if code in (0, _ADB_FAILED) or "error: " in said.partition("\n")[0]:
            raise self._host.client.lost()
        return f"on {self._host.address} {_ended(code)}", said

    def close(self) -> None:
        """End it: the runner does where nobody writes any more."""
        self._piped.close()


def _ended(code: int) -> str:
    """How a process there ended: with 128 and the number of a signal where one ended it."""
    return how_ended(128 - code if code > 128 else code)
