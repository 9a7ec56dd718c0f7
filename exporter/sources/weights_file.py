"""A file of weights, or a pickle: not a model that can be exported; says what to write instead."""

from __future__ import annotations

from pathlib import Path

from ...errors import InputError
from .archives import no_program
from .base import Source, missing

_SUFFIXES = (".pt", ".pth", ".bin", ".ckpt", ".safetensors", ".pkl", ".pickle", ".ptl", ".jit", ".torchscript")


def matches(spec: str) -> bool:
    """By suffix."""
    return Path(spec).suffix.lower() in _SUFFIXES or spec.lower().endswith(".pth.tar")


def load(spec: str, trust: bool) -> Source:
    """Always an error: weights do not say what computes with them, and a pickle runs code when it is loaded.

    Raises:
        InputError: always.
    """
    if not Path(spec).exists():
        raise missing(spec)
    if Path(spec).is_dir():
        raise InputError(
            f"{spec} is a directory, and no file of weights.", hint="Write a Python file with model() and inputs()."
        )
    raise no_program(spec)
