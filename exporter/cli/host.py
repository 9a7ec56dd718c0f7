"""What an export needs beyond the base install, and how a command loads it."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from typing import TYPE_CHECKING

from ...errors import UnservedError

if TYPE_CHECKING:
    from ..sources import DecoderSource, Source

MODULES = ("torch", "onnx", "onnx_ir", "onnxscript", "onnxruntime")


def require_host() -> None:
    """Say what is missing before anything is imported.

    Raises:
        UnservedError: a module of the `host` extra is not installed.
    """
    if missing := [name for name in MODULES if find_spec(name) is None]:
        raise UnservedError(
            f"Exporting needs {', '.join(missing)}, which this installation does not have.",
            hint="Install the host tools: pip install 'edgepress[host]'",
        )


def load(spec: str, *, trust: bool) -> Source:
    """The model that the spec names, of one forward.

    Raises:
        InputError: as `load_source` says.
    """
    with _few_objects():
        from ..sources import load_source

        return load_source(spec, trust=trust)


def load_any(spec: str, *, trust: bool) -> Source | DecoderSource:
    """The model that the spec names, of either kind.

    Raises:
        InputError: as `load_model` says.
    """
    with _few_objects():
        from ..sources import load_model

        return load_model(spec, trust=trust)


@contextmanager
def _few_objects() -> Iterator[None]:
    """Loading a model for a process that is ours and lives as long as it.

    torch and the model come with a million objects, none of which is garbage. The cyclic collector is off while they
    come and passes over them afterwards: looking through them again and again took a fifth of a short export.
    """
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        gc.enable()
