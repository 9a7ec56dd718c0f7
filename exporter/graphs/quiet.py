"""Libraries that log what their caller says in a message of its own."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def quiet(*modules: str) -> Iterator[None]:
    """Inside, the loggers of these modules say nothing."""
    logs = [logging.getLogger(module) for module in modules]
    before = [log.disabled for log in logs]
    for log in logs:
        log.disabled = True
    try:
        yield
    finally:
        for log, said in zip(logs, before, strict=True):
            log.disabled = said
