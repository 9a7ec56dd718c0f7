"""Find a backend by its entry-point name."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache

from ..errors import UnservedError
from ..profiles.machine.environment import versions
from ..profiles.registry import Registry
from .base import Backend

BACKENDS = Registry("edgepress.backends", "backend")
# What decides an artifact or a figure beside the runtimes.
BEFORE, AFTER = ("edgepress", "torch", "onnx", "onnx-ir", "onnxscript"), ("transformers", "numpy")


def backend_names() -> tuple[str, ...]:
    """Names of all registered backends, sorted."""
    return BACKENDS.names()


@cache
def load_backend(name: str) -> Backend:
    """The backend registered under `name`.

    Raises:
        InputError: nothing is registered under the name.
        UnservedError: the package that registers it does not import.
    """
    registered = BACKENDS.load(name)
    backend = registered() if callable(registered) else registered
    assert isinstance(backend, Backend), f"the backend {name!r} is not a Backend"
    return backend


def tool_versions() -> dict[str, str]:
    """Version of each installed tool that decides an artifact or a figure, the runtimes' packages among them."""
    return versions(dict.fromkeys((*BEFORE, *_runtimes(), *AFTER)))


def _runtimes() -> Iterator[str]:
    """The packages of the backends; one that does not import decides nothing, and is named where it is asked for."""
    for name in backend_names():
        try:
            yield from load_backend(name).packages
        except UnservedError:  # noqa: PERF203  (each may fail on its own)
            continue
