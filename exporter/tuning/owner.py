"""Which process works on a trial, told so that another one on the same machine sees whether it is still there."""

from __future__ import annotations

import os
from functools import cache
from pathlib import Path


@cache
def me() -> str:
    """This process: of which boot and namespace, its id there, and when it started, since ids come again."""
    return f"{place()} {os.getpid()} {_started(os.getpid())}"


def is_dead(owner: str) -> bool:
    """Whether the process ran on this machine and is there no more."""
    where, _, rest = owner.partition(" ")
    pid, _, started = rest.partition(" ")
    return where == place() and _started(int(pid)) != started


def place() -> str:
    """This boot of this machine, and the namespace in which process ids count."""
    boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    return f"{boot}/{os.readlink('/proc/self/ns/pid')}"


def _started(pid: int) -> str:
    """The start time of a process in clock ticks after boot (proc(5), field 22); empty where there is none."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return ""
    state, *fields = text.rpartition(")")[2].split()
    return "" if state == "Z" else fields[18]
