"""Questions to the helper on a device, over one channel, one after the other."""

from __future__ import annotations

import json
import threading
from typing import Any

from ....errors import UnservedError
from ..files import full_disk
from .link import Link

# Seconds until a question is answered: a slow disk hashes a gigabyte in less.
_PATIENCE = 120.0
_FULL = (27, 28, 122)  # EFBIG, ENOSPC and EDQUOT of Linux, which is what runs there


class Helper:
    """The helper in its mode `serve`; each method of its `Device` can be asked.

    Attributes:
        address: of the device.
    """

    def __init__(self, link: Link) -> None:
        """Start it.

        Raises:
            UnservedError: the connection is lost.
        """
        self._link, self._turn, self.address = link, threading.Lock(), link.address
        self._channel = link.start("serve", {"directory": link.address.directory})
        self._channel.settimeout(_PATIENCE)
        self._answers = self._channel.makefile("rb")

    def ask(self, what: str, data: bytes = b"", **arguments: Any) -> Any:
        """Ask for one thing and wait for the answer.

        Args:
            what: a method of `helper.store.Device`.
            data: bytes that go with the question.

        Raises:
            UnservedError: the disk there is full, a file there is at fault, or nobody answers.
        """
        return self.ask_bytes(what, data, **arguments)[0]

    def ask_bytes(self, what: str, data: bytes = b"", **arguments: Any) -> tuple[Any, bytes]:
        """As `ask`, of what is answered with bytes."""
        question = json.dumps({"do": what, "bytes": len(data), **arguments}).encode() + b"\n"
        with self._turn:
            said, back = self._exchanged(question, data)
        if "error" in said:
            raise self._refused(said)
        return said["answer"], back

    def _exchanged(self, question: bytes, data: bytes) -> tuple[dict[str, Any], bytes]:
        try:
            self._channel.sendall(question)
            self._channel.sendall(data)
            line = self._answers.readline()
            if not line:
                raise self._gone()
            said: dict[str, Any] = json.loads(line)
            back: bytes = self._answers.read(said["bytes"])
        except TimeoutError as error:
            raise UnservedError(
                f"{self._link.address} gave no answer for {_PATIENCE:.0f} s.",
                hint="Look after the machine, and run the same command again: what was copied is kept there.",
            ) from error
        except (OSError, EOFError) as error:
            raise self._gone() from error
        return said, back

    def _gone(self) -> UnservedError:
        """Why the helper does not answer any more."""
        if not self._link.alive:
            return self._link.lost()
        words = self._channel.recv_stderr(1 << 16).decode(errors="replace").strip().splitlines()
        last = f": {words[-1]}" if words else ""
        if self._channel.exit_status_ready() and self._channel.recv_exit_status() in (126, 127):
            return UnservedError(
                f"{self._link.address} does not run {self._link.address.python}{last}.",
                hint="Install Python 3.10 or later there, or name it: ?python=PATH behind the address.",
            )
        return UnservedError(
            f"What keeps the files of edgepress on {self._link.address} ended{last}.",
            hint="Run the same command again.",
        )

    def _refused(self, said: dict[str, Any]) -> UnservedError:
        """What is wrong with a file there."""
        file = said["file"] or self._link.address.directory
        if said["number"] in _FULL:
            return self.full(f"{file} could not be written")
        hint = said["hint"] or "Look after it there."
        return UnservedError(f"{self._link.address}: {file}: {said['error']}.", hint=hint)

    def full(self, what: str) -> UnservedError:
        """As `full_disk`, after `what` happened."""
        return full_disk(self._link.address, what, self.ask("free"))
