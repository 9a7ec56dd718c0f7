"""Tensors that lie in a safetensors file: statistics, and weights of a training run."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from importlib import import_module
from pathlib import Path
from typing import Any, Literal

from ..profiles.reading.opened import opened

Framework = Literal["numpy", "pt"]
_MODULES: Mapping[Framework, str] = {"numpy": "numpy", "pt": "torch"}
_NUMBER = re.compile(r"os error (\d+)")


def read_tensors(
    path: Path, framework: Framework, *, hint: str | None = None
) -> tuple[Mapping[str, str], dict[str, Any]]:
    """The metadata and the tensors by name.

    The library itself holds what the header declares against the file's length before it takes memory, so that a file
    needs as much as it is long.

    Raises:
        UnreadableError: no such file, not safetensors, or it is truncated.
    """
    from safetensors import safe_open

    what = "is not a safetensors file, or it is truncated"
    with opened(path, what=what, hint=hint), safe_open(path, framework=framework) as file:
        return file.metadata() or {}, {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118  (no mapping)


def write_tensors(
    path: Path, tensors: Mapping[str, Any], framework: Framework, metadata: Mapping[str, str] | None = None
) -> None:
    """Write a file of tensors by name.

    Raises:
        OSError: the system's own, which the library tells as a text.
    """
    from safetensors import SafetensorError

    save_file = import_module(f"safetensors.{_MODULES[framework]}").save_file
    try:
        save_file(dict(tensors), path, metadata=metadata and dict(metadata))
    except SafetensorError as error:
        if (found := _NUMBER.search(str(error))) is None:
            raise
        raise OSError(int(found[1]), os.strerror(int(found[1]))) from error
