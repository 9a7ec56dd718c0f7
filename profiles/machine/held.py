"""Directories that a process holds while it works in them, and what dead processes left of theirs.

Each has a file in it that its process keeps locked. The kernel drops the lock when the process ends, however it ends: a
lock that nobody holds says dead, whatever numbers processes have been given since. What has no such file was not made
here, and is left alone; but where a name is one that is given here and nothing is in the directory, its process came no
further, and whoever removes it takes nothing from a living one, which begins again.
"""

from __future__ import annotations

import errno
import fcntl
import os
import re
import secrets
import shutil
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from .naming import naming

MARK = ".edgepress-held"
# In a held directory: what was moved aside, and goes back to its place where nothing has come there.
ASIDE = "aside"
_PREFIX = "edgepress-"
# Names that are given here.
_GIVEN = re.compile(rf"(\..*\.)?{_PREFIX}[0-9a-f]{{16}}", re.DOTALL)
# What this process holds, or is about to make, and its number, which a fork does not have.
_holding: dict[Path, int] = {}
# File systems without a device number of their own that one kernel has to itself, whenever it was started.
_LOCAL = frozenset({"btrfs", "overlay", "tmpfs", "zfs"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Leftover:
    """A directory of a dead process, and the bytes of the files in it."""

    path: Path
    bytes: int


def holding() -> tuple[Path, ...]:
    """Directories that this process holds."""
    return tuple(path for path, process in _holding.items() if process == os.getpid())


@contextmanager
def temporary() -> Iterator[Path]:
    """A directory in the temporary directory, which goes with the block."""
    with held(Path(tempfile.gettempdir()), "") as directory:
        yield directory


@contextmanager
def held(parent: Path, prefix: str, aside_of: str = "") -> Iterator[Path]:
    """A directory of a name that begins so and is known for one of ours, which goes with the block.

    What dead processes left beside it goes when this one makes its first there.

    Args:
        prefix: empty, or a name between two points.
        aside_of: name beside the directory of what the block may move to ASIDE in it.

    Raises:
        OSError: none can be made there.
    """
    parent = parent.absolute()  # the block may run code that goes elsewhere
    _clean_once(parent)
    with naming(parent):
        directory, lock = _made(parent, prefix, aside_of)
    try:
        with naming(parent / aside_of):
            yield directory
    finally:
        _remove(directory)
        os.close(lock)
        _holding.pop(directory, None)


def abandon() -> None:
    """Remove all that this process still holds, before it ends.

    An interrupt comes between any two steps, also those that begin and end a block.
    """
    for directory, process in list(_holding.items()):
        if process == os.getpid():
            with suppress(OSError):
                _give_back(directory)
            _remove(directory)


def leftovers(parent: Path) -> list[Leftover]:
    """What dead processes of this user left there."""
    found = [Leftover(path=directory, bytes=0) for directory in _begun(parent) if _empty(directory)]
    for directory in _marked(parent):
        with _dead(directory) as dead:
            if dead:
                found.append(Leftover(path=directory, bytes=_bytes(directory)))
    return found


def clean(parent: Path) -> list[Leftover]:
    """Remove what dead processes of this user left there; what one had moved aside goes back to its place first.

    Returns:
        What is gone.
    """
    gone = []
    for directory in _begun(parent):
        with suppress(OSError):  # there is something in it
            directory.rmdir()
            gone.append(Leftover(path=directory, bytes=0))
    for directory in _marked(parent):
        # Its own process, or another cleaner, may take it away at any moment; then nothing is left to do here.
        with suppress(FileNotFoundError), _dead(directory) as dead:
            if dead:
                found = Leftover(path=directory, bytes=_bytes(directory))
                _give_back(directory)
                _remove(directory)
                gone += [] if directory.exists() else [found]
    return gone


def in_use(parent: Path, name: str) -> bool:
    """Whether a living process of this user holds a directory there to make or replace what has this name."""
    for directory in _marked(parent):
        with _dead(directory) as dead, suppress(OSError):
            if not dead and _words(directory)[1] == name:
                return True
    return False


@cache
def _clean_once(parent: Path) -> None:
    """The first time that this process asks."""
    clean(parent)


def _made(parent: Path, prefix: str, aside_of: str) -> tuple[Path, int]:
    """A directory and its lock, which was not taken for dead between the making and the locking."""
    while True:
        directory = parent / f"{prefix}{_PREFIX}{secrets.token_hex(8)}"
        _holding[directory] = os.getpid()
        try:
            directory.mkdir(0o700)
        except OSError:
            del _holding[directory]
            raise
        try:
            lock = os.open(directory / MARK, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        except FileNotFoundError:  # taken for one that came no further
            del _holding[directory]
            continue
        try:
            os.write(lock, f"{_boot()}\n{aside_of}\n".encode())
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if os.path.samestat(os.stat(directory / MARK), os.fstat(lock)):
                return directory, lock
        except (BlockingIOError, FileNotFoundError):  # somebody looks at it, or took it for dead
            pass
        except OSError as error:
            if error.errno not in (errno.ENOLCK, errno.ENOTSUP, errno.ENOSYS, errno.EINVAL, errno.EIO):
                _remove(directory)
                os.close(lock)
                raise
            # A file system without locks cannot tell the dead from the living: nobody takes it for ours.
            (directory / MARK).unlink()
            return directory, lock
        _remove(directory)
        os.close(lock)
        del _holding[directory]


def _marked(parent: Path) -> list[Path]:
    """Directories there that this user's processes made, dead or alive."""
    return [path for path in _named(parent) if _mine(path)]


def _begun(parent: Path) -> list[Path]:
    """Those that came no further than their name; that they are empty is for whoever asks to see."""
    return [path for path in _named(parent) if _GIVEN.fullmatch(path.name) and _own(path) and not _mine(path)]


def _empty(directory: Path) -> bool:
    with suppress(OSError):  # its process removed it, or put it into use
        return not any(directory.iterdir())
    return False


def _named(parent: Path) -> list[Path]:
    with suppress(OSError):
        return [
            Path(entry) for entry in sorted(e.path for e in os.scandir(parent) if e.name.startswith((_PREFIX, ".")))
        ]
    return []


def _own(directory: Path) -> bool:
    with suppress(OSError):
        return stat.S_ISDIR(directory.lstat().st_mode) and directory.lstat().st_uid == os.geteuid()
    return False


def _mine(directory: Path) -> bool:
    with suppress(OSError):
        return _own(directory) and (directory / MARK).lstat().st_uid == os.geteuid()
    return False


@contextmanager
def _dead(directory: Path) -> Iterator[bool]:
    """Whether the process that held it is dead; for the block nobody else can find so."""
    try:
        lock = os.open(directory / MARK, os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError:
        yield False
        return
    try:
        yield _free(lock) and _there(directory, lock) and _known(directory, os.fstat(lock))
    finally:
        os.close(lock)


def _free(lock: int) -> bool:
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True


def _there(directory: Path, lock: int) -> bool:
    """Whether the mark is still the one of this lock: its process, or another cleaner, may have removed it meanwhile.

    From here on it stays, as only the holder of the lock removes it.
    """
    with suppress(OSError):
        return os.path.samestat((directory / MARK).lstat(), os.fstat(lock))
    return False


def _known(directory: Path, mark: os.stat_result) -> bool:
    """Whether the lock would be seen here if it were held.

    A network file system may keep locks to each machine. Then only those are known that this kernel gave, since it was
    started; a disk, which has a device number of its own, is this machine's alone, and so are some systems without one.
    A mark without a word is of a process that came no further.
    """
    boot = _words(directory)[0]
    local = os.major(mark.st_dev) != 0 or _file_system(mark.st_dev) in _LOCAL
    return local if mark.st_size == 0 else bool(boot) and (boot == _boot() or local)


def _file_system(device: int) -> str:
    """The type of the file system of a device number; empty where that is not known."""
    number = f"{os.major(device)}:{os.minor(device)}"
    with suppress(OSError), open("/proc/self/mountinfo", encoding="utf-8") as mounts:
        for line in mounts:
            before, _, after = line.partition(" - ")
            if before.split()[2] == number:
                return after.split()[0]
    return ""


def _words(directory: Path) -> tuple[str, str]:
    """When the machine of the process was started, and what it may have moved aside."""
    boot, _, rest = (directory / MARK).read_text(encoding="utf-8", errors="replace").partition("\n")
    return boot, rest.removesuffix("\n")


@cache
def _boot() -> str:
    """An identity that the kernel gives itself at each start."""
    with suppress(OSError):
        return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    return ""


def _give_back(directory: Path) -> None:
    name = _words(directory)[1]
    if name and (directory / ASIDE).exists() and not os.path.lexists(directory.parent / name):
        (directory / ASIDE).rename(directory.parent / name)


def _remove(directory: Path) -> None:
    """The mark last: what is left where this is cut short is still known for what it is."""
    with suppress(OSError):
        for entry in directory.iterdir():
            if entry.is_dir() and not entry.is_symlink():
                shutil.rmtree(entry, ignore_errors=True)
            elif entry.name != MARK:
                entry.unlink()
        if [entry.name for entry in directory.iterdir()] == [MARK]:
            (directory / MARK).unlink()
        directory.rmdir()


def _bytes(directory: Path) -> int:
    total = 0
    for place, _, files in os.walk(directory):
        for name in files:
            with suppress(OSError):
                total += os.lstat(os.path.join(place, name)).st_size
    return total
