"""Numbers and texts that a file can spell, and that nothing can be done with."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

# The largest whole number that TOML has to spell.
MOST_WHOLE = (1 << 63) - 1
_LEAST, _MOST = -(1 << 63), (1 << 64) - 1


def fault(data: Any) -> str:
    """The first number that is not finite or beyond 64 bits, or text that is no Unicode; empty without any.

    Args:
        data: as JSON or TOML give it.
    """
    return next((f"`{where}` {what}" if where else f"it {what}" for where, what in _faults(data, "")), "")


def deeper(data: Any, most: int) -> bool:
    """Whether values lie in more than so many others; by a list of them, since each may call whoever goes into it."""
    left = [(data, 0)]
    while left:
        value, depth = left.pop()
        if depth > most:
            return True
        inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
        left += [(one, depth + 1) for one in inner if isinstance(one, dict | list)]
    return False


def _faults(value: Any, where: str) -> Iterator[tuple[str, str]]:
    """Where each fault is, as the keys on the way to it, and what it is."""
    if isinstance(value, dict):
        for key, one in value.items():
            yield from _faults(key, where)
            yield from _faults(one, f"{where}.{key}" if where else str(key))
    elif isinstance(value, list):
        for index, one in enumerate(value):
            kind = type(one)  # a measurement has millions that are in order
            if not ((kind is int and _LEAST <= one <= _MOST) or (kind is float and math.isfinite(one))):
                yield from _faults(one, f"{where}.{index}" if where else str(index))
    elif what := _of_scalar(value):
        yield where, what


def _of_scalar(value: Any) -> str:
    if isinstance(value, float) and not math.isfinite(value):
        return f"is {value}, which is no finite number"
    if isinstance(value, int) and not _LEAST <= value <= _MOST:
        return "is a whole number beyond 64 bits"
    if isinstance(value, str) and any("\ud800" <= sign <= "\udfff" for sign in value):
        return "has half of a character in it"
    return ""
