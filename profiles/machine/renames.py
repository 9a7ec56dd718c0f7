"""Renames in one step of the file system, which no kill can leave half done."""

from __future__ import annotations

import ctypes
import errno
import os
from pathlib import Path

# From linux/fs.h; AT_FDCWD from linux/fcntl.h.
_NOREPLACE, _EXCHANGE, _AT_FDCWD = 1, 2, -100
# The kernel or the file system does not have the flag.
_UNKNOWN = frozenset({errno.EINVAL, errno.ENOSYS, errno.ENOTSUP})


def exchanged(first: Path, second: Path) -> bool:
    """Swap two files or directories of one file system; False where the system has no such step, and nothing changed.

    Raises:
        OSError: one is missing, or may not be renamed.
    """
    return _renamed(first, second, _EXCHANGE)


def rename_new(source: Path, destination: Path) -> None:
    """Rename to a name that nothing has.

    Where the system cannot refuse in the same step, it is looked at before.

    Raises:
        FileExistsError: something has the name.
        OSError: the source may not be renamed.
    """
    if _renamed(source, destination, _NOREPLACE):
        return
    if os.path.lexists(destination):
        raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), str(destination))
    source.rename(destination)


def _renamed(source: Path, destination: Path, flag: int) -> bool:
    """Whether the system has renameat2(2) with this flag, which then was done."""
    function = getattr(ctypes.CDLL(None, use_errno=True), "renameat2", None)  # glibc 2.28
    if function is None:
        return False
    names = (_AT_FDCWD, os.fsencode(source), _AT_FDCWD, os.fsencode(destination))
    if function(*names, ctypes.c_uint(flag)) == 0:
        return True
    number = ctypes.get_errno()
    if number in _UNKNOWN:
        return False
    raise OSError(number, os.strerror(number), str(destination))
