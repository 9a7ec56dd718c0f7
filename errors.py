"""The errors edgepress raises on purpose; everything else is a bug and keeps its traceback."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path


def as_text(name: str) -> str:
    """A text as it can be printed and written: bytes of a file's name that are no UTF-8 are spelt out."""
    try:
        return name.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
    except UnicodeEncodeError:  # not even bytes
        return name.encode("utf-8", "backslashreplace").decode()


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
        message = as_text(message)  # it may name any file, and goes into reports and logs
        super().__init__(message if hint is None else f"{message}\n{as_text(hint)}")
        self.message = message
        self.hint = hint if hint is None else as_text(hint)

    @property
    def kind(self) -> str:
        """The name of what it is here, as a CI system shows it: rooms may have kinds of their own of each."""
        return next(kind.__name__ for kind in type(self).__mro__ if kind.__module__ == __name__)


class InputError(EdgepressError):
    """The user's model, data or options are at fault."""


class UnreadableError(InputError):
    """A file is not there, or does not hold what its format says.

    Attributes:
        reason: what is wrong with it, without its name.
    """

    reason: str = ""

    @classmethod
    def of(cls, path: Path, reason: str, *, what: str = "cannot be read", hint: str | None = None) -> UnreadableError:
        """Name the file and say what is wrong with it.

        Args:
            what: is the matter with the file, in a few words.
        """
        error = cls(f"{path} {what}: {reason.rstrip('.')}.", hint=hint)
        error.reason = reason
        return error


class RefusedError(InputError):
    """A compiler does not take a graph; in another precision it may."""


class UnopenedError(RefusedError):
    """A runtime does not open what its compiler wrote; in another precision, of floats beside integers too, it may."""


class BudgetError(EdgepressError):
    """A bundle costs more than it may: latency, size or loss of quality."""

    exit_code = 3


class VerificationError(EdgepressError):
    """An engine or a bundle does not reproduce what it must."""

    exit_code = 4


class UnservedError(EdgepressError):
    """The target cannot be served on this machine: a runtime, a device or a toolchain is missing."""

    exit_code = 5


# Of several errors the worst one's code ends the process. Worst first: something is wrong; something has to be given
# otherwise; another machine may do it; and least, since the bundle is there, a budget.
WORST_FIRST = (VerificationError.exit_code, InputError.exit_code, UnservedError.exit_code, BudgetError.exit_code)


def worst_code(errors: Iterable[EdgepressError]) -> int:
    """The exit code of several errors."""
    return min((error.exit_code for error in errors), key=WORST_FIRST.index)


class TargetsError(EdgepressError):
    """Of several targets some could not be exported; the others were.

    Attributes:
        errors: what ended the export, by the target's name.
        made: the bundle, by the target's name.
    """

    def __init__(self, errors: Mapping[str, EdgepressError], made: Mapping[str, Path]) -> None:
        """Say each reason once, with all targets that it is of.

        Args:
            errors: at least one.
            made: where the bundles of the others are.
        """
        reasons: dict[str, list[str]] = {}
        for target, error in errors.items():
            reasons.setdefault(str(error), []).append(target)
        told = [f"{', '.join(targets)}: {reason}" for reason, targets in reasons.items()]
        super().__init__("\n".join([f"{len(errors)} of {len(errors) + len(made)} targets failed.", *told]))
        self.errors, self.made, self.exit_code = dict(errors), dict(made), worst_code(errors.values())
