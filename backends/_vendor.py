"""What the adapters of pip-installed runtimes share: is it there, what did it say, does a feed fit."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from types import ModuleType

from ..errors import EdgepressError, InputError, RefusedError, UnservedError
from .base import Availability, Feed, Graph, Rejection, TensorSpec

# Set in the environment of child processes.
CHILD = "EDGEPRESS_CHILD"


def availability(module: str, distributions: Sequence[str], install: str) -> Availability:
    """Whether a runtime that both compiles and runs here is installed, found without importing it.

    Args:
        module: its import name.
        distributions: names under which it is distributed, the usual one first.
        install: what pip installs it with, as `edgepress[openvino]`.
    """
    try:
        found = find_spec(module) is not None
    except (ImportError, ValueError):  # a half-imported or blocked module has no spec
        found = False
    if not found:
        remedy = f'Install it: pip install "{install}"'
        return Availability(version="", compile=False, run=False, reason=f"{module} is not installed", remedy=remedy)
    return Availability(version=f"{module} {_version(distributions)}", compile=True, run=True)


def import_or_explain(module: str) -> ModuleType:
    """Import a vendor's module.

    Raises:
        UnservedError: it is installed, and does not import.
    """
    try:
        return import_module(module)
    except ImportError as error:
        hint = f"Try `python -c 'import {module}'` and reinstall it."
        raise UnservedError(f"{module} is installed but does not import: {error}.", hint=hint) from error


def last_words(text: str) -> None:
    """Say what comes next, where this process is one that may crash on it; who started it reads the last line."""
    if CHILD in os.environ:
        sys.stderr.write(f"{text}\n")


def refusal(runtime: str, graph: Graph, rejections: Sequence[Rejection]) -> RefusedError:
    """The error for a graph that the runtime does not take; it names the first node and how many more there are."""
    more = f" (and {len(rejections) - 1} more)" if len(rejections) > 1 else ""
    return RefusedError(
        f"{runtime} refuses {graph.path.name}: {rejections[0]}{more}.",
        hint="Replace the operator in the model, or choose a target whose runtime has it.",
    )


def said(error: Exception) -> str:
    """What a runtime says; where it quotes bytes of a damaged file that are no text, its binding says only that."""
    return error.object.decode(errors="replace") if isinstance(error, UnicodeDecodeError) else str(error)


@contextmanager
def told(what: str, failures: type[Exception] = Exception) -> Iterator[None]:
    """What a library of a runtime raises inside is said in its first line, behind these words.

    Args:
        failures: what it raises: all that pybind11 makes of a C++ exception, where nothing else is called inside.
    """
    try:
        yield
    except EdgepressError:
        raise
    except failures as error:
        raise _failed(what, error) from error


def _failed(what: str, error: Exception) -> InputError:
    lines = [line.strip() for line in said(error).splitlines() if line.strip() and not line.startswith("Exception")]
    return InputError(f"{what}: {lines[0] if lines else 'no message'}")


def unwritten(what: str, error: Exception) -> InputError:
    """The error for a file that a runtime failed to write; runtimes seldom say why."""
    return InputError(f"{what} could not be written: {error}.", hint="Check the disk's space and permissions.")


def fit(specs: Sequence[TensorSpec], feed: Feed) -> None:
    """Check a feed against the inputs of an engine.

    Raises:
        InputError: an input is missing, unknown, or has another dtype or shape.
    """
    names = {spec.name for spec in specs}
    if names != feed.keys():
        given, wanted = ", ".join(sorted(feed)), ", ".join(sorted(names))
        raise InputError(f"The feed has the inputs {given or 'none'}; the engine expects {wanted}.")
    for spec in specs:
        if wrong := spec.mismatch(feed[spec.name]):
            raise InputError(f"Input {spec.name!r} {wrong}.")


def _version(distributions: Sequence[str]) -> str:
    with suppress(PackageNotFoundError):
        return version(distributions[0])
    return _version(distributions[1:]) if distributions[1:] else "of unknown version"
