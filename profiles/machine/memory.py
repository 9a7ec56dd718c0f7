"""Memory of a process, as Linux counts it."""

from __future__ import annotations

import ctypes
import re
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True, kw_only=True)
class Memory:
    """Resident bytes of the process that runs an engine.

    Attributes:
        before: before the runtime was loaded: the interpreter and edgepress.
        opened: with the engine open, before its first inference.
        steady: at the end of the measurement.
        peak: the most it ever had, loading and compiling included.
    """

    before: int
    opened: int
    steady: int
    peak: int


def resident(status: Path = Path("/proc/self/status")) -> tuple[int, int]:
    """(now, at most so far) resident bytes of this process; (0, 0) where the system does not tell.

    `VmRSS` and `VmHWM` of proc(5).
    """
    try:
        text = status.read_text(encoding="utf-8")
    except OSError:
        return 0, 0
    found = {name: int(kilobytes) * 1024 for name, kilobytes in re.findall(r"^(VmRSS|VmHWM):\s+(\d+) kB", text, re.M)}
    return found.get("VmRSS", 0), found.get("VmHWM", 0)


def trim() -> None:
    """Give what this process freed back to the system, where its allocator can (malloc_trim(3) of glibc).

    Arrays of megabytes that come and go in every size leave holes that no later one fits into.
    """
    release = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if release is not None:
        release(0)
