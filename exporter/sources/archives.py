"""What torch has written into an archive: a program, compiled code, or pickled weights; told without loading it."""

from __future__ import annotations

import pickletools
import re
import zipfile
from pathlib import Path
from typing import Literal, TypeAlias

from ...errors import InputError

_PICKLES = (".pkl", ".pickle")
# Classes that a pickle of tensors by name has.
_OF_WEIGHTS = re.compile(r"collections OrderedDict|torch(\._utils|\._tensor|\.storage)? \w+")
Archive: TypeAlias = Literal["program", "script", "compiled", "pickle"]


def archive_of(path: Path) -> Archive | None:
    """What lies in the file; None where it is no archive, or another one."""
    try:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
    except (zipfile.BadZipFile, OSError):
        return None
    # All of torch's lie in one directory, but for what torch.export wrote before 2.8.
    inner = [name.partition("/")[2] for name in names]
    if "serialized_exported_program.json" in names or any(name.startswith("models/") for name in inner):
        return "program"
    if any(name.startswith("data/aotinductor/") for name in inner):
        return "compiled"
    if any(name.startswith("code/") for name in inner):
        return "script"
    return "pickle" if "data.pkl" in inner else None


def no_program(spec: str) -> InputError:
    """The error for a TorchScript program, code that AOTInductor compiled, or a pickle, by what lies in the file.

    Args:
        spec: the file, as it was named.
    """
    path = Path(spec)
    found = archive_of(path)
    if found == "script":
        return InputError(
            f"{spec} is a TorchScript program: compiled code instead of a forward in Python, which cannot be captured.",
            hint="Write a Python file with model() and inputs(), whose module is the one that it was made from, with "
            f"its weights: module.load_state_dict(torch.jit.load({path.name!r}).state_dict()). Or give an .onnx "
            "file of it.",
        )
    if found == "compiled":
        return InputError(
            f"{spec} was compiled by AOTInductor: it holds machine code for one kind of machine, and no program.",
            hint="Give the program that it was compiled from, written with torch.export.save, or a Python file with "
            "model() and inputs().",
        )
    if found == "program":
        return InputError(
            f"{spec} is a program of torch.export, under another suffix.", hint="Rename it to .pt2, and give that."
        )
    if found == "pickle" and _has_objects(path):
        return InputError(
            f"{spec} holds a module or other objects, pickled whole: it needs the code that they were made with, and "
            "may run any when it is loaded.",
            hint="Write a Python file with model() and inputs() that imports that code and loads it (torch.load(..., "
            "weights_only=False), where you trust the file); `edgepress init` writes one to start from.",
        )
    what = "a pickle, which may run any code when loaded" if path.suffix.lower() in _PICKLES else "weights only"
    return InputError(
        f"{spec} holds {what}; a model is code and weights together.",
        hint="Write a Python file with model() and inputs() that loads it (torch.load(..., weights_only=True)); "
        "`edgepress init` writes one to start from.",
    )


def _has_objects(path: Path) -> bool:
    """Whether the pickle in an archive names classes beside those that weights alone need; nothing of it is run."""
    try:
        with zipfile.ZipFile(path) as archive:
            name = next(name for name in archive.namelist() if name.partition("/")[2] == "data.pkl")
            named = [str(value) for code, value, _ in pickletools.genops(archive.read(name)) if code.name == "GLOBAL"]
    except Exception:  # a damaged one may raise anything, and is no model in any case
        return False
    return any(_OF_WEIGHTS.fullmatch(word) is None for word in named)
