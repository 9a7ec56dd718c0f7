"""A `.pt2` program of torch.export. Loading one can run code that lies in it, so it takes the user's trust."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from ...errors import InputError
from .archives import archive_of, no_program
from .base import Source, checked_dynamic, missing, safe_name
from .program import Called, plain, refuse_training
from .quiet import quiet
from .torch_module import check_forward, module_digest

if TYPE_CHECKING:
    from torch.export import ExportedProgram


def matches(spec: str) -> bool:
    """By suffix."""
    return Path(spec).suffix.lower() == ".pt2"


def load(spec: str, trust: bool) -> Source:
    """Load the program; its inputs are the ones saved with it, its free axes have the bounds that it gives them.

    What it was given beside tensors, as a number or None, is part of it. One in another float type is widened.

    Raises:
        InputError: no trust, no exported program, one in training mode, or inputs that are not plain tensors.
    """
    _need_file(spec)
    if not trust:
        raise InputError(
            f"{spec} is a torch.export program; loading it can run code that lies in it.",
            hint="Pass --trust-source if you trust where it comes from, or give the Python file it was made from.",
        )
    called = Called.of(_read(spec), spec)
    refuse_training(called.program, spec)
    module, inputs = called.module(), called.inputs
    dynamic = checked_dynamic(called.dynamic, inputs, f"The free axes of {spec}")
    check_forward(module, inputs, spec)
    return Source(
        name=safe_name(Path(spec).stem),
        kind="pt2",
        module=module,
        onnx=None,
        inputs=inputs,
        dynamic=dynamic,
        program=plain(called, module, spec),
        ranges=called.ranges(module),
        digest=module_digest(module, inputs, dynamic),
    )


def _need_file(spec: str) -> None:
    """Raises InputError where no file is there."""
    path = Path(spec)
    if path.is_dir():
        raise InputError(f"{spec} is a directory; a .pt2 program is a file.", hint="Write one with torch.export.save.")
    if not os.path.lexists(path):
        raise missing(spec)
    if not path.exists():
        raise InputError(f"{spec} is a link to {os.readlink(path)}, which is not there.")


def _read(spec: str) -> ExportedProgram:
    import torch

    found = archive_of(Path(spec))
    if found is None:
        raise InputError(
            f"{spec} is not a program that torch {torch.__version__} can load: it is no archive of torch.export, or "
            "one that is damaged or not complete.",
            hint="Copy the file again; or save it again with torch.export.save.",
        )
    if found != "program":
        raise no_program(spec)
    try:
        with quiet():
            return torch.export.load(spec)
    except Exception as error:
        raise InputError(
            f"{spec} is not a program that torch {torch.__version__} can load: {_why(spec, error)}",
            hint="Save it again with torch.export.save, with this version of torch. Where it was saved with this one, "
            "the file is damaged: copy it again.",
        ) from error


def _why(spec: str, error: Exception) -> str:
    """The first line of what went wrong; torch tells that in its log, where it tries an older format afterwards."""
    from torch.export.pt2_archive._package import load_pt2

    try:
        with quiet():
            load_pt2(spec)
    except Exception as cause:  # whatever a damaged file makes of it
        error = cause
    return next((line for line in str(error).splitlines() if line.strip()), type(error).__name__)
