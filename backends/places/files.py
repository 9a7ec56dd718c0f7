"""Files that go to a device and come back.

What lasts, engines and graphs and wheels, is kept there by its hash and goes there once; a copy that was cut goes on
where it ended, in the next run as well. All else is of one run, and goes with it.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from pathlib import Path, PurePosixPath
from typing import Any, Protocol, TypeAlias

from ...errors import UnservedError
from ...profiles.findings.report import megabytes
from ...profiles.machine.naming import naming
from ...profiles.reading.hashed import sha256

CHUNK = 4 << 20  # bytes of a file that go at once
_ROOM = 64 << 20  # bytes that stay free on a disk beside what is copied
_SHOWN = 8 << 20  # bytes of a copy that takes so long that it is told
_log = logging.getLogger(__name__)
SentFile: TypeAlias = tuple[Path, str]  # a file here, and its name there


class Keeper(Protocol):
    """What keeps files on a device: it can be asked for what `ssh.helper.store.Device` does with them."""

    @property
    def address(self) -> object:
        """Of the device, for messages."""

    def ask(self, what: str, data: bytes = b"", **arguments: Any) -> Any:
        """Ask for one thing and wait for the answer.

        Raises:
            UnservedError: the disk there is full, a file there is at fault, or nobody answers.
        """

    def ask_bytes(self, what: str, data: bytes = b"", **arguments: Any) -> tuple[Any, bytes]:
        """As `ask`, of what is answered with bytes."""

    def full(self, what: str) -> UnservedError:
        """The error for a full disk.

        Args:
            what: happened, a clause.
        """


def full_disk(address: object, what: str, free: int) -> UnservedError:
    """What a keeper says of a full disk.

    Args:
        what: happened, a clause.
        free: bytes.
    """
    return UnservedError(
        f"The disk of {address} is full: {what}, {megabytes(free)} are free.",
        hint="Make room there, or choose another ?directory=PATH behind the address. Nothing here was changed.",
    )


class Files:
    """The files of one run on a device, which has the device to itself.

    Attributes:
        helper: there.
        directory: of this run there.
    """

    def __init__(self, helper: Keeper) -> None:
        self.helper = helper
        self.directory = PurePosixPath(helper.ask("directory"))
        self._sent: dict[str, str] = {}  # hashes by name there

    def send(self, path: Path, name: str, *, lasting: bool = False) -> PurePosixPath:
        """Bring a file or a directory there; what lies there and is the same stays.

        Args:
            name: of it there, below the directory of this run.
            lasting: it is of use to later runs.

        Raises:
            UnservedError: there is no room for it, or the connection is lost.
        """
        found = [(file, digest) for file, digest in _hashed(path, name) if self._sent.get(file[1]) != digest]
        if lasting:
            self.keep([(file, digest) for (file, _), digest in found])
            for (_, there), digest in found:
                self.helper.ask("lay", path=there, digest=digest)
        else:
            for (file, there), _ in found:
                for offset, data in _chunks(file, 0):
                    self.helper.ask("write", data, path=there, offset=offset)
        self._sent.update((there, digest) for (_, there), digest in found)
        return self.directory / name

    def keep(self, files: Sequence[tuple[Path, str]]) -> None:
        """Bring files into the store there, as far as they are not in it.

        Args:
            files: with their hashes.

        Raises:
            UnservedError: there is no room for them, or the connection is lost.
        """
        sizes = [file.stat().st_size for file, _ in files]
        asked = [(digest, size) for (_, digest), size in zip(files, sizes, strict=True)]
        there = self.helper.ask("have", files=asked)
        missing = sum(sizes) - sum(there)
        free = self.helper.ask("free")
        if missing and missing + _ROOM > free:
            raise self.helper.full(f"{megabytes(missing)} are to be copied there")
        if missing > _SHOWN:
            before = f", the other {megabytes(sum(there))} are there" if sum(there) else ""
            _log.info("Copying %s to %s%s.", megabytes(missing), self.helper.address, before)
        for (file, digest), size, offset in zip(files, sizes, there, strict=True):
            if offset < size or not size:
                self._put(file, digest, size, offset)

    def _put(self, file: Path, digest: str, size: int, offset: int) -> None:
        """Bring a file there from an offset on; once more from its beginning where what was there was another's."""
        for begin in dict.fromkeys((offset, 0)):
            for at, data in _chunks(file, begin):
                whole = self.helper.ask("put", data, digest=digest, offset=at, last=at + len(data) >= size)
            if whole:
                return
        raise UnservedError(
            f"{file.name} did not arrive at {self.helper.address} as it is here: it changed meanwhile, or the disk "
            "there is at fault.",
            hint="Run the same command again.",
        )

    def ready(self, name: str) -> PurePosixPath:
        """Where a file of this name is to be written there; its directory exists."""
        self.helper.ask("ready", path=name)
        self._sent.pop(name, None)
        return self.directory / name

    def fetch(self, name: str, path: Path) -> None:
        """Bring a file or a directory from there.

        Raises:
            UnservedError: it did not arrive as it is there, or the connection is lost.
        """
        for inside, size, digest in self.helper.ask("files", path=name):
            if PurePosixPath(inside).is_absolute() or ".." in PurePosixPath(inside).parts:
                raise UnservedError(f"{self.helper.address} sends a file to where it has no business: {inside!r}.")
            file = path / inside if inside else path
            file.parent.mkdir(parents=True, exist_ok=True)
            with naming(file), file.open("wb") as sink:
                for data in self._read(f"{name}/{inside}" if inside else name, size):
                    sink.write(data)
            if sha256(file) != digest:
                raise UnservedError(
                    f"{file.name} did not arrive from {self.helper.address} as it is there.",
                    hint="Run the same command again.",
                )

    def _read(self, name: str, size: int) -> Iterator[bytes]:
        for offset in range(0, size, CHUNK):
            yield self.helper.ask_bytes("read", path=name, offset=offset, size=CHUNK)[1]


def _hashed(path: Path, name: str) -> Iterator[tuple[SentFile, str]]:
    """A file, or all in a directory, with their names there and hashes."""
    if not path.is_dir():
        yield (path, name), sha256(path)
        return
    for file in sorted(path.rglob("*")):
        if file.is_file():
            yield (file, f"{name}/{file.relative_to(path).as_posix()}"), sha256(file)


def _chunks(path: Path, offset: int) -> Iterator[tuple[int, bytes]]:
    """(offset, bytes) from an offset on; at least one, which may be empty."""
    with path.open("rb") as file:
        file.seek(offset)
        data = file.read(CHUNK)
        yield offset, data
        while more := file.read(CHUNK):
            offset, data = offset + len(data), more
            yield offset, data
