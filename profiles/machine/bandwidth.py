"""How fast this machine reads its memory: what bounds a decoder, which reads all its weights for each token."""

from __future__ import annotations

import re
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np

CACHES = Path("/sys/devices/system/cpu/cpu0/cache")
MEMORY = Path("/proc/meminfo")
PASSES = 8
_USUAL, _LEAST, _MOST = 256 << 20, 64 << 20, 1 << 30
_UNITS = {"": 1, "K": 1 << 10, "M": 1 << 20, "G": 1 << 30}


def read_bandwidth(threads: int, size: int | None = None) -> tuple[float, ...]:
    """Bytes a second of some passes over an array that no cache holds, each thread reading its own part.

    A dot product of a vector with itself reads each value once and, alone of what numpy offers, adds so fast that the
    memory decides. The best pass is the nearest to what the machine can do: others only ever take from it.

    Args:
        size: bytes of the array; at least four times the last cache by default.
    """
    array = np.ones((size or _size()) // 4, dtype=np.float32)
    parts = np.array_split(array, threads)
    taken = []
    with ThreadPoolExecutor(threads) as pool:
        for _ in range(1 + PASSES):  # the first only brings in pages and starts threads
            begun = time.perf_counter()
            list(pool.map(_read, parts))
            taken.append(array.nbytes / (time.perf_counter() - begun))
    return tuple(taken[1:])


def _read(part: np.typing.NDArray[np.float32]) -> float:
    return float(np.dot(part, part))


def _size() -> int:
    """Four times the last cache, and no more than an eighth of the memory that is free."""
    wanted = min(max(4 * last_cache(), _USUAL), _MOST)
    free = _available()
    return wanted if free is None else min(wanted, max(free // 8, _LEAST))


def last_cache(caches: Path = CACHES) -> int:
    """Bytes of the largest cache; 0 where the system does not tell."""
    sizes = [re.fullmatch(r"(\d+)([KMG]?)", _text(file)) for file in caches.glob("index*/size")]
    return max((int(found[1]) * _UNITS[found[2]] for found in sizes if found), default=0)


def _available(memory: Path = MEMORY) -> int | None:
    found = re.search(r"^MemAvailable:\s+(\d+) kB", _text(memory), re.M)
    return int(found[1]) * 1024 if found else None


def _text(file: Path) -> str:
    try:
        return file.read_text(encoding="ascii").strip()
    except OSError:
        return ""
