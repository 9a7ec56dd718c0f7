"""Signals that ask a command to end, and whether one came.

Python raises KeyboardInterrupt wherever it happens to be, and a library may turn that into an error of its own, as an
import in C does: so it is also remembered.
"""

from __future__ import annotations

import signal
from types import FrameType
from typing import NoReturn

_ASKING = ("SIGINT", "SIGTERM", "SIGHUP")  # a system may lack the last
_heard: list[int] = []


def listen() -> None:
    """Let each of the signals interrupt this process; one that is ignored, as under nohup, stays so."""
    for name in _ASKING:
        number = getattr(signal, name, None)
        if number is not None and signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, _interrupt)


def heard() -> int:
    """The number of the first that came since `listen`, else 0."""
    return _heard[0] if _heard else 0


def _interrupt(number: int, frame: FrameType | None) -> NoReturn:
    _heard.append(number)
    raise KeyboardInterrupt
