"""Tensors that lie in a safetensors file: statistics, and weights of a training run."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from ..profiles.reading.opened import opened


def read_tensors(
    path: Path, framework: Literal["numpy", "pt"], *, hint: str | None = None
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
