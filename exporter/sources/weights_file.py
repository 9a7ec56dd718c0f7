"""A file of weights, or a pickle: not a model that can be exported; says what to write instead."""

from __future__ import annotations

import zipfile
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
    if _is_script(spec):
        raise InputError(
            f"{spec} is a TorchScript program: compiled code instead of a forward in Python, which cannot be captured.",
            hint="Write a Python file with model() and inputs(), whose module is the one that it was made from, with "
            f"its weights: module.load_state_dict(torch.jit.load({Path(spec).name!r}).state_dict()). Or give an .onnx "
            "file of it.",
        )
    what = "a pickle, which may run any code when loaded" if Path(spec).suffix.lower() in _PICKLES else "weights only"
    raise InputError(
        f"{spec} holds {what}; a model is code and weights together.",
        hint="Write a Python file with model() and inputs() that loads it (torch.load(..., weights_only=True)); "
        "`edgepress init` writes one to start from.",
    )


def _is_script(spec: str) -> bool:
    """As torch.jit.save writes: an archive that holds code."""
    if not zipfile.is_zipfile(spec):
        return False
    with zipfile.ZipFile(spec) as archive:
        return any(name.partition("/")[2].startswith("code/") for name in archive.namelist())
