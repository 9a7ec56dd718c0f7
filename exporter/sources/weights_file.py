"""A file of weights, or a pickle: not a model that can be exported; says what to write instead."""

from __future__ import annotations

from pathlib import Path

from ...errors import InputError
from .base import Source, missing

_WEIGHTS = (".pt", ".pth", ".bin", ".ckpt", ".safetensors")
_PICKLES = (".pkl", ".pickle")


def matches(spec: str) -> bool:
    """By suffix."""
    return Path(spec).suffix.lower() in (*_WEIGHTS, *_PICKLES)


def load(spec: str, trust: bool) -> Source:
    """Always an error: weights do not say what computes with them, and a pickle runs code when it is loaded.

    Raises:
        InputError: always.
    """
    if not Path(spec).exists():
        raise missing(spec)
    what = "a pickle, which may run any code when loaded" if Path(spec).suffix.lower() in _PICKLES else "weights only"
    raise InputError(
        f"{spec} holds {what}; a model is code and weights together.",
        hint="Write a Python file with model() and inputs() that loads it (torch.load(..., weights_only=True)); "
        "`edgepress init` writes one to start from.",
    )
