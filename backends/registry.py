"""Find a backend by its entry-point name."""

from __future__ import annotations

from functools import cache

from ..profiles.registry import Registry
from .base import Backend

BACKENDS = Registry("edgepress.backends", "backend")


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
