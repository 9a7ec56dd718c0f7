"""A signal at a moment of a run: at one of its file operations, counted by the interpreter's audit events."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable
from typing import Any

# Before the operation is done. `ctypes.dlsym` is how renameat2 is found, just before it is called.
_OPERATIONS = frozenset(
    {
        *("os.rename", "os.remove", "os.mkdir", "os.rmdir", "os.link", "os.truncate", "os.chmod", "os.utime"),
        *("shutil.rmtree", "shutil.copyfile", "shutil.copytree", "fcntl.flock", "ctypes.dlsym", "sqlite3.connect"),
    }
)
_WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT
Operation = Callable[[str, tuple[Any, ...]], None]


def on_operations(called: Operation) -> None:
    """From here on call it before each operation on a file that may change something, with its arguments."""

    def hook(event: str, arguments: tuple[Any, ...]) -> None:
        if event in _OPERATIONS or (event == "open" and arguments[2] & _WRITING and arguments[0] != os.devnull):
            called(event, arguments)

    sys.addaudithook(hook)


def strike(number: int, sent: signal.Signals, process: int) -> None:
    """Send this process the signal before its operation of that number, from 0; forks of it are spared."""
    seen = -1

    def called(event: str, arguments: tuple[Any, ...]) -> None:
        nonlocal seen
        seen += 1
        if seen == number and os.getpid() == process:
            os.kill(process, sent)

    on_operations(called)


def kill_before_renaming_to(name: str) -> None:
    """End this process as SIGKILL does, before it gives a file or directory that name."""

    def called(event: str, arguments: tuple[Any, ...]) -> None:
        if event == "os.rename" and str(arguments[1]).endswith(name):
            os.kill(os.getpid(), signal.SIGKILL)

    on_operations(called)
