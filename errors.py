"""The errors edgepress raises on purpose; everything else is a bug and keeps its traceback."""

from __future__ import annotations


class EdgepressError(Exception):
    """What was given, what was expected and what to do next, in one message.

    Attributes:
        exit_code: the process exit status when the error ends a command.
        target: whose export it ended, where several are exported; None where that is not known.
    """

    exit_code = 1
    target: str | None = None

    def __init__(self, message: str, *, hint: str | None = None) -> None:
        """Keep the message and the remedy apart, so that a terminal can set them apart too.

        Args:
            message: what was given and what was expected.
            hint: what to do next, one imperative sentence.
        """
        super().__init__(message if hint is None else f"{message}\n{hint}")
        self.message = message
        self.hint = hint


class InputError(EdgepressError):
    """The user's model, data or options are at fault."""


class RefusedError(InputError):
    """A compiler does not take a graph; in another precision it may."""


class BudgetError(EdgepressError):
    """A bundle costs more than it may: latency, size or loss of quality."""

    exit_code = 3


class VerificationError(EdgepressError):
    """An engine or a bundle does not reproduce what it must."""

    exit_code = 4


class UnservedError(EdgepressError):
    """The target cannot be served on this machine: a runtime, a device or a toolchain is missing."""

    exit_code = 5
