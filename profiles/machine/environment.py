"""The machine and the software that produced a figure, in words without host or user names."""

from __future__ import annotations

import os
import platform
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timezone
from functools import cache
from importlib import metadata
from pathlib import Path

# Instruction sets that decide which integer kernels a CPU runs.
ISA_FLAGS = (
    "avx2",
    "avx_vnni",
    "avx512f",
    "avx512_vnni",
    "amx_int8",
    "amx_bf16",
    "avx512_bf16",
    "asimddp",
    "i8mm",
    "bf16",
    "sve",
)
# With these an x86 processor adds products of an unsigned and a signed integer in 32 bits, and quickly.
VNNI = frozenset({"avx512_vnni", "avx_vnni"})

# Threads or processes that may be asked for: far above any machine here, and far below what a system call takes.
MOST_THREADS = 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class Machine:
    """A machine: processor model, architecture, usable cores, instruction sets and operating system."""

    processor: str
    arch: str
    cores: int
    isa: tuple[str, ...]
    system: str

    def __str__(self) -> str:
        return f"{self.processor}, {self.arch}, {self.cores} cores"


# Set for processes whose processor is emulated; they cannot tell by themselves.
EMULATED = "EDGEPRESS_EMULATED"


def is_emulated() -> bool:
    """Whether this process runs on an emulated processor, whose times say nothing."""
    return bool(os.environ.get(EMULATED))


@cache
def this_machine() -> Machine:
    """The machine this runs on."""
    info = _cpuinfo()
    flags = set((info.get("flags") or info.get("Features") or "").split())
    return Machine(
        processor=info.get("model name") or info.get("Model") or platform.processor() or "unknown processor",
        arch=platform.machine(),
        cores=usable_cores(),
        isa=tuple(flag for flag in ISA_FLAGS if flag in flags),
        system=f"{platform.system()} {platform.release().split('-')[0]}, Python {platform.python_version()}",
    )


def now() -> str:
    """The time in UTC, ISO 8601, to the second."""
    return datetime.now(timezone.utc).isoformat(timespec="seconds")


def usable_cores() -> int:
    """Cores this process may use (its affinity), not what the board has."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def last_cores(count: int) -> tuple[int, ...]:
    """The cores that so many threads are bound to: the last ones, since the first one serves most interrupts.

    Empty where the system does not tell.
    """
    cores = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else []
    return tuple(cores[-count:])


def versions(packages: Iterable[str]) -> dict[str, str]:
    """Version of each of the packages that is installed, in their order."""
    return {package: version for package in packages if (version := installed(package))}


def installed(package: str) -> str:
    """Version of an installed package, empty where it is not installed; imports nothing of it."""
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return ""


def _cpuinfo() -> dict[str, str]:
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8")
    except OSError:
        return {}
    pairs = (line.partition(":") for line in text.splitlines())
    found: dict[str, str] = {}
    for key, _, value in pairs:
        found.setdefault(key.strip(), value.strip())
    return found
