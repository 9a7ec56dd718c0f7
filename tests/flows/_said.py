"""What a user is told: what messages have in common, and what a command says while it waits."""

from __future__ import annotations

import subprocess
import threading
import time
from collections.abc import Callable, Mapping

from edgepress.errors import EdgepressError

from ._flow import EDGEPRESS


def one_message(error: EdgepressError, *parts: str) -> None:
    """What went wrong is said once, with what to do about it."""
    assert error.hint
    for part in parts:
        assert part in str(error), str(error)
    assert "Traceback" not in str(error)


def waits(words: tuple[str, ...], environment: Mapping[str, str], message: str, give_way: Callable[[], None]) -> None:
    """A command says why it waits, and goes on to its end when the other one gives way.

    Args:
        give_way: called when the message was there.
    """
    told: list[str] = []
    pipe = subprocess.PIPE
    with subprocess.Popen([EDGEPRESS, *words], env=dict(environment), stdout=pipe, stderr=pipe, text=True) as second:
        assert second.stderr is not None
        reader = threading.Thread(target=lambda: told.extend(second.stderr))  # type: ignore[arg-type]
        reader.start()
        end = time.monotonic() + 120
        while message not in "".join(told) and time.monotonic() < end and second.poll() is None:
            time.sleep(0.1)
        waited = second.poll() is None
        give_way()
        assert second.wait(300) == 0
        reader.join()
    assert message in "".join(told)
    assert waited
