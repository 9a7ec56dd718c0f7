"""Signals that ask a command to end, and whether one came.

Python raises KeyboardInterrupt wherever it happens to be, and a library may turn that into an error of its own, as an
import in C does: so it is also remembered. Where Python itself drops it, as in a callback of a weak reference, it is
raised again once that is over. A second one soon after the first, as of a key that is pressed twice or of a
session that ends, does not disturb what the first one makes the process clean up.
"""

from __future__ import annotations

import signal
import sys
import threading
import time
from types import FrameType
from typing import NoReturn

_ASKING = ("SIGINT", "SIGTERM", "SIGHUP")  # a system may lack the last
_SOON, _OVER = 2.0, 0.05  # seconds
_heard: list[tuple[int, float]] = []


def listen() -> None:
    """Let each of the signals interrupt this process; one that is ignored, as under nohup, stays so."""
    for name in _ASKING:
        number = getattr(signal, name, None)
        if number is not None and signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, _interrupt)
    sys.unraisablehook = _dropped


def heard() -> int:
    """The number of the first that came since `listen`, else 0."""
    return _heard[0][0] if _heard else 0


def ignore() -> None:
    """From here on none of them disturbs this process, which is about to end."""
    for name in _ASKING:
        if (number := getattr(signal, name, None)) is not None:
            signal.signal(number, signal.SIG_IGN)
    if hasattr(signal, "setitimer"):
        signal.setitimer(signal.ITIMER_REAL, 0)


def _dropped(dropped: sys.UnraisableHookArgs) -> None:
    """Called by Python for an exception that it drops; no signal raises one in another thread, nor can it be set."""
    ours = heard() and isinstance(dropped.exc_value, KeyboardInterrupt)
    if ours and threading.current_thread() is threading.main_thread() and hasattr(signal, "setitimer"):
        signal.signal(signal.SIGALRM, _again)
        signal.setitimer(signal.ITIMER_REAL, _OVER)
    else:
        sys.__unraisablehook__(dropped)


def _again(number: int, frame: FrameType | None) -> NoReturn:
    raise KeyboardInterrupt


def _interrupt(number: int, frame: FrameType | None) -> None:
    now = time.monotonic()
    if _heard and now - _heard[-1][1] < _SOON:
        return
    _heard.append((number, now))
    raise KeyboardInterrupt
