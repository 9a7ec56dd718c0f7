"""What keeps files on a phone, by the commands that every Android has: it is asked what the helper of `ssh` is."""

from __future__ import annotations

import errno
import logging
import re
import select
import shlex
import subprocess
from collections.abc import Sequence
from contextlib import ExitStack
from typing import Any

from ....errors import UnservedError
from ....profiles.machine.held import temporary
from ..files import full_disk
from .client import Client, ThereError, file_error

KEPT_DAYS = 30
_BEGINNING, _ENDING = 30.0, 10.0  # seconds that the shell which holds the lock may take for it
_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_log = logging.getLogger(__name__)
# The directory belongs to this user, to root or to the shell that adb starts (2000), and no other may write to it.
_OWN = (
    "set -- $(stat -c '%a %u' {root}) $(id -u); case $1 in *[2367]) exit 5;; esac; "
    "case $2 in $3|0|2000) ;; *) exit 5;; esac"
)


class Storage:
    """Files below one directory: `files` by hash, `jobs` of the run that holds the lock.

    Attributes:
        address: of the phone.
    """

    def __init__(self, client: Client) -> None:
        """Wait until this run has the phone to itself, and say so where it waits.

        Raises:
            UnservedError: files cannot be kept there, or the phone is not there any more.
        """
        self._client, self.address = client, client.address
        self._root, self._known = client.address.directory, set[str]()
        self._held = ExitStack()
        self._scratch = self._held.enter_context(temporary())
        try:
            self._lock = self._locked()
            self._job = self._begun()
        except BaseException:
            self.close()
            raise

    def _locked(self) -> subprocess.Popen[str]:
        """A shell there that holds the lock until its input ends; the kernel keeps the queue."""
        # Of the descriptors that a shell opens for itself, only the first three go to what it starts. A connection that
        # is cut says so by a hang-up, which must not come before what is to be removed.
        root, take = shlex.quote(self._root), "flock -n 2 || { echo busy; flock 2; }"
        command = (
            f"trap '' HUP; mkdir -p -m 700 {root} || exit 3; {_OWN.format(root=root)}; "
            "command -v flock >/dev/null || exit 4; "
            f"exec 2>>{root}/lock; {take}; echo locked; cat >/dev/null; rm -rf {root}/jobs/run"
        )
        held = self._client.waiting_shell(command)
        assert held.stdout is not None
        if not select.select([held.stdout], [], [], _BEGINNING)[0]:
            held.kill()
            raise self._client.silent(_BEGINNING)
        line = held.stdout.readline().strip()
        if line == "busy":
            _log.warning("%s works for somebody else; waiting.", self.address)
            line = held.stdout.readline().strip()
        if line == "locked":
            return held
        code, said = held.wait(_BEGINNING), "" if held.stderr is None else held.stderr.read().strip()
        if code not in (3, 4, 5):
            raise self._client.lost()
        if code == 5:
            raise UnservedError(
                f"{self.address}: others there may write to {self._root}, and what is kept in it is run.",
                hint=f"Give another ?directory=PATH behind the address, or remove it: adb shell rm -r {root}",
            )
        if code == 4:
            raise UnservedError(f"{self.address} has no flock.", hint="Android 8 or later has it.")
        raise UnservedError(
            f"{self.address}: {self._root} cannot be used: {said}.",
            hint="Give another ?directory=PATH behind the address, one whose programs may run.",
        )

    def _begun(self) -> str:
        """A directory of this run; what dead runs left and nobody used for long goes."""
        root = shlex.quote(self._root)
        self._sh(
            f"cd {root} && mkdir -p files jobs && rm -rf jobs/* && mkdir jobs/run && "
            f"find files -type f -mtime +{KEPT_DAYS} -exec rm -f {{}} ';'"
        )
        return f"{self._root}/jobs/run"

    def ask(self, what: str, data: bytes = b"", **arguments: Any) -> Any:
        """Ask for one thing, a method of this class; see `files.Keeper`."""
        return self.ask_bytes(what, data, **arguments)[0]

    def ask_bytes(self, what: str, data: bytes = b"", **arguments: Any) -> tuple[Any, bytes]:
        """As `ask`, of what is answered with bytes."""
        try:
            done = getattr(self, f"do_{what}")(data=data, **arguments)
        except ThereError as error:
            raise self._refused(error) from error
        return (None, done) if isinstance(done, bytes) else (done, b"")

    def do_directory(self, data: bytes) -> str:
        """Of this run."""
        return self._job

    def do_free(self, data: bytes) -> int:
        """Bytes that may be written."""
        return free(self._client, self._root)

    def do_have(self, files: Sequence[tuple[str, int]], data: bytes) -> list[int]:
        """How many bytes of each file are there, by hash."""
        if not files:
            return []
        names = " ".join(digest for digest, _ in files)
        said = self._sh(
            f"cd {shlex.quote(self._root)}/files && for f in {names}; do "
            '[ -f "$f" ] && touch "$f" && stat -c "%n %s" "$f"; '
            '[ -f "$f.part" ] && stat -c "%n %s" "$f.part"; done; true'
        )
        there = dict(line.rsplit(" ", 1) for line in said.splitlines() if " " in line)
        return [self._length(there, digest, size) for digest, size in files]

    def _length(self, there: dict[str, str], digest: str, size: int) -> int:
        """A whole file of another length is of a copy that the power cut behind its renaming."""
        if digest in there and int(there[digest]) == size:
            return size
        return min(int(there.get(f"{digest}.part", 0)), size)

    def do_put(self, digest: str, offset: int, last: bool, data: bytes) -> bool:
        """More of a file; after the last of it, whether it is the file of this hash."""
        files = f"{self._root}/files"
        self._append(f"{files}/{digest}.part", offset, data)
        if not last:
            return True
        said = self._sh(
            f'cd {shlex.quote(files)} && set -- $(sha256sum {digest}.part) && if [ "$1" = {digest} ]; then '
            f"chmod 755 {digest}.part; fsync {digest}.part 2>/dev/null; mv -f {digest}.part {digest} && echo whole; "
            f"else rm -f {digest}.part; fi"
        )
        return said.strip() == "whole"

    def _append(self, path: str, offset: int, data: bytes) -> None:
        """Go on with a file from there, where it ends; from its beginning what was there goes.

        adb writes whole files only. A piece that was cut is of no use, and what was joined is.
        """
        quoted, piece = shlex.quote(path), f"{self._root}/files/piece"
        try:
            if offset == 0:
                self._sh(f"rm -f {quoted}")
            self._push(data, piece)
            self._sh(
                f'[ {offset} = 0 ] || [ "$(stat -c %s {quoted})" = {offset} ] || {{ echo "it changed" >&2; exit 1; }}; '
                f"cat {shlex.quote(piece)} >> {quoted} && rm -f {shlex.quote(piece)}"
            )
        except ThereError as error:
            if error.errno in _FULL:  # what is there of it is of no use to others
                self._client.shell(f"rm -f {quoted} {shlex.quote(piece)}")
            raise

    def do_lay(self, path: str, digest: str, data: bytes) -> None:
        """Let a file of the store lie in the directory of this run as well.

        Android forbids hard links to programs that adb starts; and a library may refuse what leaves its directory.
        """
        kept, target = shlex.quote(f"{self._root}/files/{digest}"), shlex.quote(self._inside(path))
        self._sh(f"rm -f {target}; ln {kept} {target} 2>/dev/null || cp {kept} {target}")

    def do_write(self, path: str, offset: int, data: bytes) -> None:
        """More of a file of this run alone, from its beginning where the offset is 0."""
        target = self._inside(path)
        if offset:
            self._append(target, offset, data)
        else:
            self._push(data, target)

    def _push(self, data: bytes, there: str) -> None:
        here = self._scratch / "piece"
        here.write_bytes(data)
        self._client.push(here, there)

    def do_ready(self, path: str, data: bytes) -> None:
        """Make the directory that a file is to be written into."""
        self._inside(path)

    def do_files(self, path: str, data: bytes) -> list[tuple[str, int, str]]:
        """[name, size, hash] of a file, with an empty name, or of all in a directory."""
        top = f"{self._job}/{path}"
        said = self._sh(
            f"find {shlex.quote(top)} -type f -exec stat -c \"%s\" {{}} ';' -exec sha256sum {{}} ';'",
        )
        lines = said.splitlines()
        found = []
        for size, line in zip(lines[::2], lines[1::2], strict=True):
            digest, name = re.split(r"\s[ *]", line, maxsplit=1)
            found.append((name.removeprefix(top).lstrip("/"), int(size), digest))
        return found

    def do_read(self, path: str, offset: int, size: int, data: bytes) -> bytes:
        """Bytes of a file, which is brought as a whole when its first are asked for."""
        here = self._scratch / "file"
        if offset == 0:
            self._client.pull(f"{self._job}/{path}", here, size)
        with here.open("rb") as file:
            file.seek(offset)
            return file.read(size)

    def stored(self, digest: str) -> str:
        """The path of a file that was kept."""
        return f"{self._root}/files/{digest}"

    def full(self, what: str) -> UnservedError:
        """As `full_disk`, after `what` happened."""
        return full_disk(self.address, what, self.do_free(b""))

    def close(self) -> None:
        """Give the phone back."""
        lock: subprocess.Popen[str] | None = self.__dict__.pop("_lock", None)
        if lock is not None:
            ended(lock)
        self._held.close()

    def _inside(self, path: str) -> str:
        target = f"{self._job}/{path}"
        directory = target.rpartition("/")[0]
        if directory not in self._known:
            self._sh(f"mkdir -p {shlex.quote(directory)}")
            self._known.add(directory)
        return target

    def _sh(self, command: str) -> str:
        """What a command there says.

        Raises:
            ThereError: it failed.
        """
        done = self._client.shell(command, patience=600.0)
        if done.code:
            raise file_error(done.err.strip() or done.out.strip(), self._root)
        return done.out

    def _refused(self, error: ThereError) -> UnservedError:
        file = error.filename or self._root
        if error.errno in _FULL:
            return self.full(f"{file} could not be written")
        return UnservedError(f"{self.address}: {file}: {error.strerror}.", hint="Look after it there.")


def ended(held: subprocess.Popen[str]) -> None:
    """End what goes on until its input ends: of itself, or where it does not."""
    assert held.stdin is not None and held.stdout is not None and held.stderr is not None
    held.stdin.close()
    try:
        held.wait(_ENDING)
    except subprocess.TimeoutExpired:
        held.kill()
        held.wait()
    held.stdout.close()
    held.stderr.close()


def free(client: Client, directory: str) -> int:
    """Bytes that may be written to a directory there, which need not exist yet.

    Raises:
        UnservedError: the phone does not tell.
    """
    quoted = shlex.quote(directory)
    said = client.shell(f'd={quoted}; while [ ! -d "$d" ]; do d="${{d%/*}}"; done; df -k "${{d:-/}}/"').out
    # The last line ends in: blocks of 1 kB, used, available, share, mount point; a long device name has its own line.
    if found := re.search(r"\s(\d+)\s+\d+%\s+/\S*\s*$", said):
        return int(found[1]) * 1024
    raise UnservedError(f"{client.address} does not tell how much room there is below {directory}: {said.strip()!r}.")
