"""A process on a device, as `Remote` speaks to it."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

from ....errors import UnservedError
from ..host import Channel, how_ended
from .link import Link

_STARTING, _WRITING, _ENDING = 30.0, 120.0, 10.0  # seconds that a process there may take for it


class SshChannel(Channel):
    """The streams of one process, on a channel of its own."""

    def __init__(self, link: Link, given: Mapping[str, Any]) -> None:
        """Start it.

        Args:
            given: what `helper.processes.run` reads.

        Raises:
            UnservedError: it does not start.
        """
        self._link, self._rest, self.pid = link, b"", 0
        self._channel = link.start("run", given)
        begun = self._line()
        self.pid, self.spawned = begun["pid"], begun["spawned"]

    def _line(self) -> dict[str, int]:
        """The first line, which is the helper's own."""
        end = time.monotonic() + _STARTING
        while b"\n" not in self._rest:
            block = self.read(end - time.monotonic())
            if not block:
                how, said = (f"on {self._link.address} did not start in time", "") if block is None else self.ended()
                last = said.strip().splitlines()[-1:]
                raise UnservedError(" ".join([f"A process {how}.", *last]), hint="Run the same command again.")
            self._rest += block
        line, _, self._rest = self._rest.partition(b"\n")
        found: dict[str, int] = json.loads(line)
        return found

    def write(self, data: bytes) -> None:
        """Write all of it to standard input."""
        self._channel.settimeout(_WRITING)
        try:
            self._channel.sendall(data)
        except (OSError, EOFError) as error:
            raise BrokenPipeError from error

    def read(self, seconds: float) -> bytes | None:
        """What is next on standard output; None where nothing came in time, empty where it ended."""
        if self._rest and self.pid:
            rest, self._rest = self._rest, b""
            return rest
        self._channel.settimeout(max(seconds, 0.001))
        try:
            return bytes(self._channel.recv(1 << 20))
        except TimeoutError:
            return None

    def ended(self) -> tuple[str, str]:
        """How it ended, and the last that it wrote to standard error.

        Raises:
            UnservedError: the connection was lost, so that nobody knows.
        """
        self._channel.status_event.wait(_ENDING)
        if not self._link.alive:
            raise self._link.lost()
        code = self._channel.recv_exit_status() if self._channel.exit_status_ready() else -1
        # What the helper says of a signal; less than 0 where the helper itself did not get to say anything.
        how = "was ended" if code < 0 else how_ended(128 - code if code > 128 else code)
        said = bytearray()
        self._channel.settimeout(_ENDING)
        with suppress(TimeoutError):
            while block := self._channel.recv_stderr(1 << 16):
                said += block
        return f"on {self._link.address} {how}", said.decode(errors="replace")

    def close(self) -> None:
        """End it: the helper does where nobody writes any more."""
        if self._channel.closed:
            return
        with suppress(OSError, EOFError):
            self._channel.shutdown_write()
            self._channel.status_event.wait(_ENDING)
        self._channel.close()
