"""A stand-in for a phone: adbd's protocol over TCP on loopback, behind which this machine's programs run.

The real `adb` speaks to it. It has what edgepress asks of a phone: `shell` by version 2 of its protocol, files by
`sync`, properties. Commands are read by mksh with toybox's programs where they are installed, as on Android, else by
this machine's own. What it is not: Android, its library of C, its permissions, and an ARM processor.

The protocol: protocol.txt, SYNC.TXT and shell_service.h of Android's sources (packages/modules/adb).
"""

from __future__ import annotations

import os
import re
import shutil
import signal
import socket
import struct
import subprocess
import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import pytest

ADB = shutil.which("adb")
_VERSION, _MOST = 0x01000001, 256 * 1024
_TOOLS = [
    "cat",
    "chmod",
    "cp",
    "df",
    "echo",
    "find",
    "flock",
    "grep",
    "ln",
    "mkdir",
    "mv",
    "rm",
    "sha256sum",
    "stat",
    "sync",
    "touch",
    "uname",
]
PROPERTIES = {
    "ro.product.manufacturer": "Acme",
    "ro.product.model": "Pane 7",
    "ro.soc.manufacturer": "Acme",
    "ro.soc.model": "A700",
    "ro.build.version.release": "15",
    "ro.build.version.sdk": "35",
    "ro.product.cpu.abi": "x86_64",
    "ro.serialno": "SECRET123",
}
THERMAL = """IsStatusOverride: false
Thermal Status: 0
Cached temperatures:
\tTemperature{mValue=30.5, mType=3, mName=skin, mStatus=0}
HAL Ready: true
Current temperatures from HAL:
\tTemperature{mValue=31.5, mType=3, mName=skin, mStatus=0}
\tTemperature{mValue=42.0, mType=0, mName=CPU0, mStatus=0}
Current cooling devices from HAL:
"""


@dataclass
class Phone:
    """One stand-in.

    Attributes:
        trusted: it lets this computer in; otherwise it asks for keys for ever.
        answers: it says anything at all.
        cut_after: bytes of files, after which the connection is cut, once; None never cuts.
        wrapped: what a program of the runner is started by, as an emulator; empty starts it itself.
    """

    directory: Path
    properties: dict[str, str] = field(default_factory=lambda: dict(PROPERTIES))
    trusted: bool = True
    answers: bool = True
    cut_after: int | None = None
    wrapped: str = ""
    received: int = 0
    commands: list[str] = field(default_factory=list)
    port: int = 0
    _server: socket.socket | None = None
    _open: list[socket.socket] = field(default_factory=list)

    @property
    def serial(self) -> str:
        return f"127.0.0.1:{self.port}"

    @property
    def rest(self) -> str:
        """What its address has behind `adb://`."""
        return f"{self.serial}?directory={self.device}"

    @property
    def address(self) -> str:
        """As a user types it."""
        return f"adb://{self.rest}"

    @property
    def device(self) -> Path:
        """Where files of edgepress lie on it."""
        return self.directory / "device"

    @property
    def tools(self) -> Path:
        return self.directory / "bin"

    def start(self) -> None:
        self.tools.mkdir(parents=True, exist_ok=True)
        toybox = shutil.which("toybox") if shutil.which("mksh") else None
        for name in (*_TOOLS, "fsync", "touch", "uname"):
            found = toybox or shutil.which(name)
            if found and not (self.tools / name).exists():
                (self.tools / name).symlink_to(found)
        self.write_tool("dumpsys", f'[ "$1" = thermalservice ] && cat <<"END"\n{THERMAL}END\n')
        self.write_tool("settings", "echo 0\n")
        self.listed()
        self._server = socket.create_server(("127.0.0.1", self.port))
        self.port = self._server.getsockname()[1]
        threading.Thread(target=self._accept, args=(self._server,), daemon=True).start()

    def listed(self) -> None:
        """Let `getprop` say what the properties are."""
        lines = "\n".join(f"[{name}]: [{value}]" for name, value in self.properties.items())
        self.write_tool("getprop", f'cat <<"END"\n{lines}\nEND\n')

    def write_tool(self, name: str, text: str) -> None:
        path = self.tools / name
        path.unlink(missing_ok=True)
        path.write_text(f"#!/bin/sh\n{text}")
        path.chmod(0o755)

    def cut(self) -> None:
        """Cut every connection; it can be connected again."""
        for connection in [*self._open]:
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)

    def stop(self) -> None:
        if self._server is not None:
            with suppress(OSError):
                self._server.shutdown(socket.SHUT_RDWR)
            self._server.close()
        self.cut()

    def _accept(self, server: socket.socket) -> None:
        with suppress(OSError):
            while True:
                connection, _ = server.accept()
                self._open.append(connection)
                threading.Thread(target=Connection(self, connection).serve, daemon=True).start()


class Connection:
    """One connection of an adb server."""

    def __init__(self, phone: Phone, connection: socket.socket) -> None:
        self.phone, self._connection = phone, connection
        self._sending, self._streams, self._next = threading.Lock(), dict[int, Stream](), 1

    def serve(self) -> None:
        with suppress(OSError, EOFError):
            while True:
                command, first, second, size, _, _ = struct.unpack("<4s5I", self._exactly(24))
                self._take(command, first, second, self._exactly(size))
        self.phone._open.remove(self._connection)
        self._connection.close()
        for stream in [*self._streams.values()]:
            stream.hang_up()

    def _take(self, command: bytes, first: int, second: int, data: bytes) -> None:
        if command in (b"CNXN", b"AUTH"):
            self._greet()
        elif command == b"OPEN":
            number, self._next = self._next, self._next + 1
            self._streams[number] = Stream(self, number, first, data.rstrip(b"\0").decode())
        elif stream := self._streams.get(second):
            stream.take(command, data)

    def _greet(self) -> None:
        if not self.phone.answers:
            return
        if not self.phone.trusted:
            self.send(b"AUTH", 1, 0, bytes(20))
            return
        self.send(b"CNXN", _VERSION, _MOST, b"device::ro.product.model=stand-in;features=shell_v2,cmd")

    def send(self, command: bytes, first: int, second: int, data: bytes = b"") -> None:
        magic = struct.unpack("<I", command)[0] ^ 0xFFFFFFFF
        with self._sending:
            self._connection.sendall(struct.pack("<4s5I", command, first, second, len(data), 0, magic) + data)

    def _exactly(self, size: int) -> bytes:
        found = b""
        while len(found) < size:
            if not (block := self._connection.recv(size - len(found))):
                raise EOFError
            found += block
        return found

    def forget(self, number: int) -> None:
        self._streams.pop(number, None)


class Stream:
    """One service that was opened."""

    def __init__(self, connection: Connection, number: int, theirs: int, service: str) -> None:
        self._connection, self._number, self._theirs = connection, number, theirs
        self._may_write, self._closed = threading.Semaphore(1), False
        self._input = bytearray()
        self._arrived = threading.Condition()
        kind, _, rest = service.partition(":")
        serve: Callable[[str], None] | None = {"shell": self._shell, "sync": self._sync}.get(kind.partition(",")[0])
        if serve is None:
            connection.send(b"CLSE", 0, theirs)
            return
        connection.send(b"OKAY", number, theirs)
        threading.Thread(target=self._served, args=(serve, rest), daemon=True).start()

    def take(self, command: bytes, data: bytes) -> None:
        if command == b"OKAY":
            self._may_write.release()
        elif command == b"WRTE":
            with self._arrived:
                self._input += data
                self._arrived.notify_all()
            self._connection.send(b"OKAY", self._number, self._theirs)
        elif command == b"CLSE":
            self.hang_up()

    def hang_up(self) -> None:
        self._closed = True
        self._may_write.release()
        with self._arrived:
            self._arrived.notify_all()

    def _served(self, serve: Callable[[str], None], rest: str) -> None:
        with suppress(OSError, EOFError):
            serve(rest)
        self._connection.forget(self._number)
        with suppress(OSError):
            self._connection.send(b"CLSE", self._number, self._theirs)

    def _write(self, data: bytes) -> None:
        for at in range(0, len(data), _MOST):
            self._may_write.acquire()
            if self._closed:
                raise EOFError
            self._connection.send(b"WRTE", self._number, self._theirs, data[at : at + _MOST])

    def _read(self, size: int) -> bytes:
        with self._arrived:
            while len(self._input) < size:
                if self._closed:
                    raise EOFError
                self._arrived.wait()
            found = bytes(self._input[:size])
            del self._input[:size]
        return found

    # Shell, version 2: a byte (0 input, 1 output, 2 errors, 3 status, 4 no more input), a length, bytes.

    def _shell(self, command: str) -> None:
        phone = self._connection.phone
        phone.commands.append(command)
        if phone.wrapped:  # the runner is a program for another processor
            command = re.sub(r"([^\s(]+/files/[0-9a-f]{64} (?:run|about) )", rf"{phone.wrapped} \1", command)
        shell = shutil.which("mksh") or "/bin/sh"
        environment = {"PATH": str(phone.tools), "HOME": "/"}
        process = subprocess.Popen(
            [shell, "-c", command],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=environment,
            cwd=phone.directory,
            start_new_session=True,
        )
        threading.Thread(target=self._feed, args=(process,), daemon=True).start()
        readers = [threading.Thread(target=self._tell, args=(process, number), daemon=True) for number in (1, 2)]
        for reader in readers:
            reader.start()
        code = process.wait()
        for reader in readers:
            reader.join()
        self._write(struct.pack("<BIB", 3, 1, (code if code >= 0 else 128 - code) & 0xFF))

    def _tell(self, process: subprocess.Popen[bytes], number: int) -> None:
        source = process.stdout if number == 1 else process.stderr
        assert source is not None
        with suppress(OSError, EOFError):
            while block := os.read(source.fileno(), 1 << 15):
                self._write(struct.pack("<BI", number, len(block)) + block)

    def _feed(self, process: subprocess.Popen[bytes]) -> None:
        """As adbd does: where the connection is lost, a hang-up and the end of its input."""
        assert process.stdin is not None
        with suppress(OSError, EOFError):
            while True:
                number, size = struct.unpack("<BI", self._read(5))
                data = self._read(size)
                if number == 4:
                    break
                if number == 0:
                    process.stdin.write(data)
                    process.stdin.flush()
            process.stdin.close()
            return
        with suppress(OSError):
            os.kill(process.pid, signal.SIGHUP)
        with suppress(OSError):
            process.stdin.close()

    # Sync: four letters, a number, which mostly is the length of what follows.

    def _sync(self, rest: str) -> None:
        while True:
            command, size = struct.unpack("<4sI", self._read(8))
            path = self._read(size).decode()
            if command == b"QUIT":
                return
            if command == b"STAT":
                found = os.stat(path) if os.path.exists(path) else None
                numbers = (0, 0, 0) if found is None else (found.st_mode, found.st_size, int(found.st_mtime))
                self._write(struct.pack("<4s3I", b"STAT", *numbers))
            elif command == b"SEND":
                self._receive(path.rpartition(",")[0])
            elif command == b"RECV":
                self._send(path)

    def _receive(self, path: str) -> None:
        phone, failure = self._connection.phone, ""
        with open(path, "wb") if os.path.isdir(os.path.dirname(path)) else open(os.devnull, "wb") as sink:
            while True:
                command, size = struct.unpack("<4sI", self._read(8))
                if command == b"DONE":
                    break
                data = self._read(size)
                phone.received += size
                if phone.cut_after is not None and phone.received > phone.cut_after:
                    phone.cut_after = None
                    phone.cut()
                    raise EOFError
                try:
                    sink.write(data)
                    sink.flush()
                except OSError as error:
                    failure = failure or error.strerror or "failed"
        if failure:
            self._write(struct.pack("<4sI", b"FAIL", len(failure)) + failure.encode())
        else:
            self._write(struct.pack("<4sI", b"OKAY", 0))

    def _send(self, path: str) -> None:
        try:
            data = Path(path).read_bytes()
        except OSError as error:
            text = (error.strerror or "failed").encode()
            self._write(struct.pack("<4sI", b"FAIL", len(text)) + text)
            return
        for at in range(0, len(data), 1 << 16):
            block = data[at : at + (1 << 16)]
            self._write(struct.pack("<4sI", b"DATA", len(block)) + block)
        self._write(struct.pack("<4sI", b"DONE", 0))


def adb(*words: str) -> str:
    """What adb says."""
    assert ADB is not None
    return subprocess.run([ADB, *words], capture_output=True, text=True).stdout


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        return int(free.getsockname()[1])


def start(directory: Path, **more: object) -> Phone:
    """Start a stand-in in an empty directory; skips where there is no adb to speak to it."""
    if ADB is None:
        pytest.skip("needs Android's adb: apt-get install adb")
    phone = Phone(directory=directory, **more)  # type: ignore[arg-type]
    phone.start()
    return phone
