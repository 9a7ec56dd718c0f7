"""A value that is computed while something else is done."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future
from threading import Thread
from typing import TypeVar

T = TypeVar("T")


def beside(compute: Callable[[], T]) -> Callable[[], T]:
    """Begin in a thread, for which a process that ends does not wait.

    Returns:
        Waits for the value, and raises what was raised.
    """
    found: Future[T] = Future()

    def run() -> None:
        try:
            found.set_result(compute())
        except BaseException as error:
            found.set_exception(error)

    Thread(target=run, daemon=True).start()
    return found.result
