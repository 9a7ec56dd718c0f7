"""Files that are kept on a device by their hash, and the directory of the one caller that has it to itself."""

import errno
import fcntl
import hashlib
import os
import platform
import re
import shutil
import sys
import tempfile
import threading
import time
import zipfile
from typing import Any, Dict, List, Optional, Tuple

from .machine import jetpack, memory, power_mode
from .owned import SharedError, need_own
from .packages import markers, packages

BLOCK = 1 << 20
KEPT_DAYS = 30
ROOMS = ("files", "packages", "jobs")
# The names that this gives. Whatever else lies there is somebody else's, and stays.
KEPT, JOB = re.compile(r"[0-9a-f]{64}(\.part)?"), "edgepress-"
Given = Dict[str, Any]


class Device:
    """Files under one directory: `files` by hash, `packages` unpacked, `jobs` of the caller that holds the lock."""

    def __init__(self, root: str) -> None:
        self.root, self.job, self.locked = root, "", False
        self.waiting = None  # type: Optional[threading.Thread]
        self.unlockable = None  # type: Optional[OSError]

    def about(self, data: bytes) -> Given:
        """The machine, before anything is written to it."""
        return {
            "arch": platform.machine(),
            "system": platform.system(),
            "python": list(sys.version_info[:3]),
            "implementation": sys.implementation.name,
            "libc": list(platform.libc_ver()),
            "free": self.free(),
            "memory": memory(),
            "jetpack": jetpack(),
            "power_mode": power_mode(),
            "packages": packages(),
            "markers": markers(),
        }

    def free(self, data: bytes = b"") -> int:
        """Bytes that may be written."""
        directory = self.root
        while not os.path.isdir(directory):
            directory = os.path.dirname(directory) or "/"
        found = os.statvfs(directory)
        return found.f_bavail * found.f_frsize

    def lock(self, data: bytes) -> bool:
        """Whether this caller has the device to itself by now; the kernel keeps the queue."""
        if self.waiting is None:
            need_own(self.root)
            self.waiting = threading.Thread(target=self._lock)
            self.waiting.daemon = True
            self.waiting.start()
        self.waiting.join(1.0)
        if self.unlockable is not None:
            raise self.unlockable
        if self.locked and not self.job:
            self._begin()
        return self.locked

    def _lock(self) -> None:
        # One lock for all users of the machine. Who only reads a file can lock it, too.
        path = os.path.join(tempfile.gettempdir(), "edgepress-device.lock")
        try:
            try:
                opened = os.open(path, os.O_RDONLY | os.O_NOFOLLOW)
            except FileNotFoundError:
                opened = os.open(path, os.O_RDONLY | os.O_CREAT | os.O_NOFOLLOW, 0o644)
            fcntl.flock(opened, fcntl.LOCK_EX)
            self.locked = True
        except OSError as error:
            self.unlockable = error

    def _begin(self) -> None:
        """Remove what dead callers left and nobody used for long, and make a directory for this one."""
        for name in ROOMS:
            room = os.path.join(self.root, name)
            os.makedirs(room, mode=0o700, exist_ok=True)
            if os.path.islink(room) or os.stat(room).st_uid != os.getuid():  # where all may write, with a sticky bit
                hint = "Give a directory of your own: ?directory=PATH behind the address."
                raise SharedError(room, "it was there already, and is another user's", hint)
            need_own(room)
        self._sweep()
        self.job = tempfile.mkdtemp(prefix=JOB, dir=os.path.join(self.root, "jobs"))

    def _sweep(self) -> None:
        """Remove what dead callers left, and what nobody used for long."""
        jobs = os.path.join(self.root, "jobs")
        for name in os.listdir(jobs):
            if name.startswith(JOB):
                shutil.rmtree(os.path.join(jobs, name), ignore_errors=True)
        old = time.time() - KEPT_DAYS * 86400
        for kind in ("files", "packages"):
            for name in os.listdir(os.path.join(self.root, kind)):
                path = os.path.join(self.root, kind, name)
                if KEPT.fullmatch(name) and os.stat(path).st_mtime < old:
                    shutil.rmtree(path, ignore_errors=True) if os.path.isdir(path) else os.unlink(path)

    def directory(self, data: bytes) -> str:
        """Of this caller."""
        return self.job

    def have(self, files: List[Tuple[str, int]], data: bytes) -> List[int]:
        """How many bytes of each file are there, by hash."""
        return [self._have(digest, size) for digest, size in files]

    def _have(self, digest: str, size: int) -> int:
        whole = self._stored(digest)
        if os.path.exists(whole) and os.path.getsize(whole) != size:  # the power failed behind its renaming
            os.unlink(whole)
        if os.path.exists(whole):
            os.utime(whole)
            return size
        return min(os.path.getsize(whole + ".part"), size) if os.path.exists(whole + ".part") else 0

    def put(self, digest: str, offset: int, last: bool, data: bytes) -> bool:
        """More of a file; after the last of it, whether it is the file of this hash."""
        whole = self._stored(digest)
        try:
            write_at(whole + ".part", offset, data)
        except OSError as error:
            if error.errno in (
                errno.ENOSPC,
                errno.EDQUOT,
                errno.EFBIG,
            ):  # it is of no use to others
                os.unlink(whole + ".part")
            raise
        if not last:
            return True
        if hash_of(whole + ".part") != digest:
            os.unlink(whole + ".part")
            return False
        with open(whole + ".part", "rb") as file:
            os.fsync(file.fileno())
        os.rename(whole + ".part", whole)
        return True

    def lay(self, path: str, digest: str, data: bytes) -> None:
        """Let a file of the store lie in the directory of this caller as well."""
        target = self._inside(path)
        if os.path.lexists(target):
            os.unlink(target)
        os.link(self._stored(digest), target)

    def write(self, path: str, offset: int, data: bytes) -> None:
        """More of a file of this caller alone, from its beginning where the offset is 0."""
        target = self._inside(path)
        if offset == 0 and os.path.lexists(target):
            os.unlink(target)
        write_at(target, offset, data)

    def ready(self, path: str, data: bytes) -> None:
        """Make the directory that a file is to be written into."""
        self._inside(path)

    def files(self, path: str, data: bytes) -> List[Tuple[str, int, str]]:
        """[name, size, hash] of a file, with an empty name, or of all in a directory."""
        top = os.path.join(self.job, path)
        if os.path.isfile(top):
            return [("", os.path.getsize(top), hash_of(top))]
        found = []
        for directory, _, names in os.walk(top):
            for name in names:
                file = os.path.join(directory, name)
                found.append((os.path.relpath(file, top), os.path.getsize(file), hash_of(file)))
        return found

    def read(self, path: str, offset: int, size: int, data: bytes) -> Tuple[None, bytes]:
        """Bytes of a file."""
        with open(os.path.join(self.job, path), "rb") as file:
            file.seek(offset)
            return None, file.read(size)

    def unpacked(self, digests: List[str], data: bytes) -> List[Optional[str]]:
        """Where each of these wheels is unpacked; None where it is not."""
        found = []
        for digest in digests:
            path = os.path.join(self.root, "packages", digest)
            there = os.path.isdir(path)
            if there:
                os.utime(path)
            found.append(path if there else None)
        return found

    def unpack(self, digest: str, data: bytes) -> str:
        """Unpack a wheel of the store, which then goes."""
        path = os.path.join(self.root, "packages", digest)
        work = tempfile.mkdtemp(prefix=JOB, dir=os.path.join(self.root, "jobs"))
        with zipfile.ZipFile(self._stored(digest)) as wheel:
            for name in wheel.namelist():
                inside = library_path(name)
                if inside and not name.endswith("/"):
                    target = os.path.join(work, inside)
                    os.makedirs(os.path.dirname(target), exist_ok=True)
                    with wheel.open(name) as source, open(target, "wb") as sink:
                        shutil.copyfileobj(source, sink)
        os.rename(work, path)
        os.unlink(self._stored(digest))
        return path

    def _stored(self, digest: str) -> str:
        return os.path.join(self.root, "files", digest)

    def _inside(self, path: str) -> str:
        target = os.path.join(self.job, path)
        os.makedirs(os.path.dirname(target), exist_ok=True)
        return target

    def close(self) -> None:
        """Leave what may be of use to the next one."""
        if self.job:
            shutil.rmtree(self.job, ignore_errors=True)


def write_at(path: str, offset: int, data: bytes) -> None:
    """Go on with a file from there; what was behind is gone."""
    with open(path, "r+b" if os.path.exists(path) else "wb") as file:
        file.truncate(offset)
        file.seek(offset)
        file.write(data)


def hash_of(path: str) -> str:
    """The SHA-256 of a file."""
    found = hashlib.sha256()
    with open(path, "rb") as file:
        for block in iter(lambda: file.read(BLOCK), b""):
            found.update(block)
    return found.hexdigest()


def library_path(name: str) -> str:
    """Where a file of a wheel goes, by the wheel format: `X.data/purelib` and `platlib` are the library as well."""
    first, _, rest = name.partition("/")
    if not first.endswith(".data"):
        return name
    kind, _, inside = rest.partition("/")
    return inside if kind in ("purelib", "platlib") else ""
