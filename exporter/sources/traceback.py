"""The user's part of a traceback: where their code failed, without ours and torch's."""

from __future__ import annotations

import contextlib
import importlib.util
import sysconfig
import traceback
from collections.abc import Iterator
from functools import cache
from pathlib import Path

from ...errors import EdgepressError, InputError
from . import checkpoints

_PACKAGE = Path(__file__).resolve().parents[2]
_OURS = tuple(_PACKAGE / name for name in ("exporter", "calibration", "backends", "profiles"))
_INTERNALS = ("torch", "onnxscript", "onnx", "onnx_ir", "numpy", "onnxruntime")
_LINES = 12


def user_traceback(error: BaseException, root: Path | None = None) -> str:
    """The frames of the error in the user's code, and its message.

    Args:
        error: what the user's code raised.
        root: a directory whose files are the user's, even where an installed package lies in it.
    """
    frames = [f for f in traceback.extract_tb(error.__traceback__) if is_user_file(f.filename, root)]
    lines = traceback.format_list(frames)
    if lines:
        lines.insert(0, "Traceback (most recent call last):\n")
    message = "".join(traceback.format_exception_only(type(error), error)).rstrip().splitlines()
    if len(message) > _LINES:
        message = [*message[:_LINES], "..."]
    return "".join(lines) + "\n".join(message)


def is_user_file(filename: str, root: Path | None = None) -> bool:
    """The file is neither ours, nor torch's, nor Python's."""
    if filename.startswith("<"):
        return False
    path = Path(filename).resolve()
    if any(path.is_relative_to(own) for own in _OURS):
        return False
    if root is not None and path.is_relative_to(root.resolve()):
        return True
    return not any(path.is_relative_to(internal) for internal in _internal_directories()) and not _standard(path)


@contextlib.contextmanager
def user_errors(what: str, root: Path | None = None) -> Iterator[None]:
    """Inside, the user's code runs; what it raises becomes an `InputError` with their frames.

    Errors of edgepress pass through, and so does what was raised in our code called by theirs: that is a bug of ours.

    Args:
        what: the function that runs, for the message.
        root: as for `user_traceback`.
    """
    try:
        yield
    except EdgepressError:
        raise
    except (Exception, SystemExit) as error:  # the exit code of theirs would be taken for ours
        if _raised_below_us(error):
            raise
        raise InputError(
            f"{what} fails.\n{user_traceback(error, root)}", hint=checkpoints.way_to_load(error)
        ) from error


def _raised_below_us(error: BaseException) -> bool:
    """Our code ran below the user's when the error was raised."""
    files = [f.filename for f in traceback.extract_tb(error.__traceback__)]
    user = next((i for i, name in enumerate(files) if is_user_file(name)), len(files))
    # What watches the user's load_state_dict only passes on what that raises.
    below = [name for name in files[user:] if name != checkpoints.__file__]
    return any(Path(name).resolve().is_relative_to(own) for name in below for own in _OURS)


@cache
def _internal_directories() -> tuple[Path, ...]:
    found = (importlib.util.find_spec(name) for name in _INTERNALS)
    return tuple(Path(p).resolve() for spec in found if spec for p in spec.submodule_search_locations or ())


def _standard(path: Path) -> bool:
    """Part of Python's standard library, in which `site-packages` may lie."""
    library = Path(sysconfig.get_path("stdlib")).resolve()
    return path.is_relative_to(library) and not {"site-packages", "dist-packages"} & set(path.parts)
