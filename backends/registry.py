"""Find a backend by its entry-point name."""

from __future__ import annotations

from functools import cache
from importlib.metadata import EntryPoint, entry_points

from ..errors import InputError, UnservedError
from .base import Backend

GROUP = "edgepress.backends"


@cache
def _registered() -> dict[str, EntryPoint]:
    found: dict[str, EntryPoint] = {}
    for point in entry_points(group=GROUP):
        other = found.setdefault(point.name, point)
        if other.value != point.value:
            raise InputError(
                f"Two packages register the backend {point.name!r}: {other.value} and {point.value}.",
                hint="Uninstall one of them.",
            )
    return found


def backend_names() -> tuple[str, ...]:
    """Names of all registered backends, sorted."""
    return tuple(sorted(_registered()))


@cache
def load_backend(name: str) -> Backend:
    """The backend registered under `name`.

    Raises:
        InputError: nothing is registered under the name.
        UnservedError: the package that registers it does not import.
    """
    if name not in _registered():
        raise InputError(f"Unknown backend {name!r}; registered: {', '.join(backend_names())}.")
    point = _registered()[name]
    try:
        backend = point.load()()
    except ImportError as error:
        raise UnservedError(f"Backend {name!r} ({point.value}) does not import: {error}.") from error
    assert isinstance(backend, Backend), f"{point.value} is not a Backend"
    return backend
