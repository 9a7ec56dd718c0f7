"""What messages have in common."""

from __future__ import annotations

from edgepress.errors import EdgepressError


def one_message(error: EdgepressError, *parts: str) -> None:
    """What went wrong is said once, with what to do about it."""
    assert error.hint
    for part in parts:
        assert part in str(error), str(error)
    assert "Traceback" not in str(error)
