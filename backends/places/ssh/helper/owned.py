"""Whose a directory is: what is kept there is run, so nobody else may put a file in the place of another."""

import errno
import os
import stat


class SharedError(OSError):
    """A directory whose files others could change, and what is kept in it is run."""

    def __init__(self, path: str, why: str, hint: str) -> None:
        super().__init__(errno.EPERM, why, path)
        self.hint = hint


def need_own(path: str) -> None:
    """Refuse a directory that another user may write to or replace: it, and all that it lies in."""
    path = os.path.realpath(path)
    if os.path.isdir(path):
        found = os.stat(path)
        if found.st_uid not in (os.getuid(), 0):
            owner = "it belongs to another user, {}".format(found.st_uid)
            raise SharedError(path, owner, "Give a directory of your own: ?directory=PATH behind the address.")
        if found.st_mode & stat.S_IWOTH and not found.st_mode & stat.S_ISVTX:
            hint = "Give a directory of your own, ?directory=PATH behind the address, or run there: chmod o-w " + path
            raise SharedError(path, "all users there may write to it", hint)
    parent = os.path.dirname(path)
    if parent != path:
        need_own(parent)
